/** What the control plane counts about itself, for `/metrics`; docs/metrics.md lists the same. */

export interface ControlState {
  proxies: () => number;
  targets: () => number;
  series: () => number;
  telemetryBytes: () => number;
  issued: () => number;
  refused: () => number;
  reviews: () => ReadonlyMap<string, number>;
  unmeshed: () => number;
  issuerEnd: () => Date | undefined;
  rootEnd: () => Date | undefined;
}

/** With a label, a value for each of its values. */
export interface Metric {
  type: 'gauge' | 'counter';
  help: string;
  label?: string;
  /** Undefined while there is nothing to say. */
  read: () => number | ReadonlyMap<string, number> | undefined;
}

const seconds = (date: Date | undefined): number | undefined => date && date.getTime() / 1000;

export function controlMetrics(state: ControlState): Record<string, Metric> {
  return {
    mesh_control_proxies: { type: 'gauge', help: 'Proxies connected.', read: state.proxies },
    mesh_control_targets: {
      type: 'gauge',
      help: 'Addresses that proxies are subscribed to, each counted once.',
      read: state.targets,
    },
    mesh_control_telemetry_series: { type: 'gauge', help: 'Telemetry series held.', read: state.series },
    mesh_control_telemetry_bytes: {
      type: 'gauge',
      help: 'Bytes of the telemetry buckets held.',
      read: state.telemetryBytes,
    },
    mesh_control_certificates_issued_total: {
      type: 'counter',
      help: 'Certificates issued to proxies.',
      read: state.issued,
    },
    mesh_control_certificates_refused_total: {
      type: 'counter',
      help: 'Certificate requests refused; the log has the reasons.',
      read: state.refused,
    },
    mesh_control_injections_total: {
      type: 'counter',
      help: 'Pods the webhook looked at, by what became of them: injected, or why not.',
      label: 'result',
      read: state.reviews,
    },
    mesh_control_unmeshed_pods: {
      type: 'gauge',
      help: 'Pods that ask for a proxy and have none.',
      read: state.unmeshed,
    },
    mesh_control_issuer_expiry_timestamp_seconds: {
      type: 'gauge',
      help: 'When the issuer in use ends.',
      read: () => seconds(state.issuerEnd()),
    },
    mesh_control_root_expiry_timestamp_seconds: {
      type: 'gauge',
      help: 'When the root in use ends.',
      read: () => seconds(state.rootEnd()),
    },
  };
}
