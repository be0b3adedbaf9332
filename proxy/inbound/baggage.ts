/** How a proxy names its workload to its peer: W3C baggage with the keys of OpenTelemetry, as other meshes do. */
import type { Workload } from '../../protocol/discovery.ts';

export function formatBaggage(workload: Workload): string {
  return `k8s.namespace.name=${workload.namespace},k8s.${workload.kind}.name=${workload.name}`;
}

/** undefined where it names none, or not properly. What it says is for telemetry only: it proves nothing. */
export function parseBaggage(text: string): Workload | undefined {
  let namespace: string | undefined;
  let kind: string | undefined;
  let name: string | undefined;
  for (const part of text.split(',')) {
    const match = /^\s*k8s\.([a-z]+)\.name=([a-z0-9.-]{1,253})\s*(?:;.*)?$/.exec(part);
    if (!match) continue;
    if (match[1] === 'namespace') namespace = match[2];
    else if (match[1] !== 'cluster') [kind, name] = [match[1], match[2]];
  }
  return namespace && kind && name ? { namespace, kind, name } : undefined;
}
