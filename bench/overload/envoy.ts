/** Envoy in front of an application, with its adaptive concurrency filter as its documentation shows it. */
import { envoyConfig, httpFilter } from '../envoy.ts';

export const envoyPort = 8001;

export function adaptiveConfig(): string {
  const adaptive = {
    gradient_controller_config: {
      sample_aggregate_percentile: { value: 90 },
      concurrency_limit_params: { concurrency_update_interval: '0.1s' },
      min_rtt_calc_params: { jitter: { value: 10 }, interval: '60s', request_count: 50 },
    },
    enabled: { default_value: true, runtime_key: 'adaptive_concurrency.enabled' },
  };
  return envoyConfig({
    listen: ['0.0.0.0', envoyPort],
    to: ['127.0.0.1', 8000],
    filters: [httpFilter('adaptive_concurrency', 'adaptive_concurrency.v3.AdaptiveConcurrency', adaptive)],
  });
}
