/** Envoy in front of an application, with its adaptive concurrency filter as its documentation shows it. */

export const envoyPort = 8001;

export function envoyConfig(): string {
  const address = (host: string, port: number) => ({ socket_address: { address: host, port_value: port } });
  const filter = (name: string, type: string, more: object) => ({
    name: `envoy.filters.http.${name}`,
    typed_config: { '@type': `type.googleapis.com/envoy.extensions.filters.http.${type}`, ...more },
  });
  const adaptive = {
    gradient_controller_config: {
      sample_aggregate_percentile: { value: 90 },
      concurrency_limit_params: { concurrency_update_interval: '0.1s' },
      min_rtt_calc_params: { jitter: { value: 10 }, interval: '60s', request_count: 50 },
    },
    enabled: { default_value: true, runtime_key: 'adaptive_concurrency.enabled' },
  };
  const manager = {
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
        filter('adaptive_concurrency', 'adaptive_concurrency.v3.AdaptiveConcurrency', adaptive),
        filter('router', 'router.v3.Router', {}),
      ],
    },
  };
  return JSON.stringify({
    static_resources: {
      listeners: [{ name: 'in', address: address('0.0.0.0', envoyPort), filter_chains: [{ filters: [manager] }] }],
      clusters: [
        {
          name: 'next',
          type: 'STATIC',
          connect_timeout: '5s',
          circuit_breakers: {
            thresholds: [{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }],
          },
          load_assignment: {
            cluster_name: 'next',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address('127.0.0.1', 8000) } }] }],
          },
        },
      ],
    },
  });
}
