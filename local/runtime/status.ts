/** A pod's status as the kubelet writes it. */
import type { KubeObject } from '../../kube/types.ts';
import { nodeAddress } from '../network/addresses.ts';
import type { Runner } from './runner.ts';

export interface PodFacts {
  podIP?: string;
  startTime: string;
  init: Runner[];
  main: Runner[];
  initialized: boolean;
  stopping: boolean;
  deadlineExceeded: boolean;
}

function phaseOf(facts: PodFacts, restartPolicy: string): string {
  if (facts.deadlineExceeded) return 'Failed';
  const codes = facts.main.map((runner) => runner.exitCode);
  const initFailed = facts.init.some(
    (one) => one.container.restartPolicy !== 'Always' && one.exitCode !== undefined && one.exitCode !== 0,
  );
  if (initFailed && restartPolicy === 'Never') return 'Failed';
  if (!facts.initialized) return 'Pending';
  const final = restartPolicy !== 'Always' || facts.stopping;
  // A pod has not ended while a sidecar of its still runs.
  const sidecars = facts.init.some((one) => one.container.restartPolicy === 'Always' && one.running);
  if (final && !sidecars && codes.every((code) => code !== undefined)) {
    if (codes.every((code) => code === 0)) return 'Succeeded';
    if (restartPolicy === 'Never' || facts.stopping) return 'Failed';
  }
  return 'Running';
}

export function podStatus(pod: KubeObject, before: KubeObject | undefined, facts: PodFacts): KubeObject {
  const phase = phaseOf(facts, pod.spec.restartPolicy ?? 'Always');
  const sidecars = facts.init.filter((one) => one.container.restartPolicy === 'Always');
  const done = phase === 'Succeeded' || phase === 'Failed';
  const notReady = [...sidecars, ...facts.main].filter((one) => !one.ready).map((one) => one.container.name);
  const containersReady = !done && notReady.length === 0 && facts.initialized;
  const why = done
    ? { reason: phase === 'Succeeded' ? 'PodCompleted' : 'PodFailed' }
    : { reason: 'ContainersNotReady', message: `containers with unready status: [${notReady.join(' ')}]` };
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = (type: string, value: boolean, detail: object = {}): object => {
    const status = value ? 'True' : 'False';
    const old = (before?.conditions ?? []).find((one: { type: string }) => one.type === type);
    const lastTransitionTime = old?.status === status ? old.lastTransitionTime : now;
    return { type, status, lastProbeTime: null, lastTransitionTime, ...(value ? {} : detail) };
  };
  const address = facts.podIP;
  return {
    ...before,
    phase,
    conditions: [
      condition('PodReadyToStartContainers', address !== undefined),
      condition('Initialized', facts.initialized, { reason: 'ContainersNotInitialized' }),
      condition('Ready', containersReady, why),
      condition('ContainersReady', containersReady, why),
      condition('PodScheduled', true),
    ],
    hostIP: nodeAddress,
    hostIPs: [{ ip: nodeAddress }],
    ...(address === undefined ? {} : { podIP: address, podIPs: [{ ip: address }] }),
    startTime: facts.startTime,
    ...(facts.init.length > 0 ? { initContainerStatuses: facts.init.map((one) => one.status) } : {}),
    containerStatuses: facts.main.map((one) => one.status),
    qosClass: 'BestEffort',
    ...(facts.deadlineExceeded
      ? { reason: 'DeadlineExceeded', message: 'Pod was active on the node longer than the specified deadline' }
      : {}),
  } as unknown as KubeObject;
}
