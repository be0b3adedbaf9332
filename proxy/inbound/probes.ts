/**
 * Tells Kubernetes' probes from traffic: they come from a node, so without an identity, to the port and path that the pod
 * declares, and say who they are. All of that has to fit: an application may be probed at a path that it serves.
 */
import type { Probe } from '../../protocol/discovery.ts';
import type { RequestFields } from '../http/head-fields.ts';

/** What the kubelet calls itself where a probe does not say otherwise. */
const usualAgent = 'kube-probe/';

export class Probes {
  readonly #byPort = new Map<number, Probe[]>();

  constructor(probes: readonly Probe[]) {
    for (const probe of probes) {
      const others = this.#byPort.get(probe.port);
      if (others) others.push(probe);
      else this.#byPort.set(probe.port, [probe]);
    }
  }

  /** Of a port; undefined without any. */
  of(port: number): readonly Probe[] | undefined {
    return this.#byPort.get(port);
  }
}

/** Whether a request of a client without an identity is one of the port's probes. */
export function isProbe(probes: readonly Probe[], request: RequestFields): boolean {
  const agent = request.value('user-agent');
  if (agent === undefined) return false;
  const fits = (probe: Probe) =>
    (probe.agent === undefined ? agent.startsWith(usualAgent) : agent === probe.agent) && request.path === probe.path;
  return probes.some(fits);
}
