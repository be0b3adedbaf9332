/** The one node of the local mesh, as kubectl shows it: this machine. */
import { readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import type { KubeObject } from '../kube/types.ts';
import { version } from '../protocol/version.ts';
import { nodeAddress, podCidr } from './network/addresses.ts';

const maxPods = 250;
/** What the API server says it speaks. */
export const kubernetesVersion = `v1.34.0-mesh-local.${version}`;
const goArchitectures: Record<string, string> = { x64: 'amd64' };

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return ''; // not every system has it
  }
}

export function nodeObject(name: string): KubeObject {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const capacity = {
    cpu: String(availableParallelism()),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: String(maxPods),
  };
  const architecture = goArchitectures[process.arch] ?? process.arch;
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(textOf('/etc/os-release'))?.[1] ?? 'Linux';
  const condition = (type: string, status: string, reason: string, message: string): object => ({
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: now,
    lastTransitionTime: now,
  });
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': architecture,
      },
    },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr] },
    status: {
      capacity,
      allocatable: capacity,
      addresses: [
        { type: 'InternalIP', address: nodeAddress },
        { type: 'Hostname', address: name },
      ],
      conditions: [condition('Ready', 'True', 'KubeletReady', 'the local mesh runs')],
      nodeInfo: {
        machineID: textOf('/etc/machine-id'),
        systemUUID: '',
        bootID: textOf('/proc/sys/kernel/random/boot_id'),
        kernelVersion: release(),
        osImage: system,
        containerRuntimeVersion: `mesh://${version}`,
        kubeletVersion: kubernetesVersion,
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture,
      },
    },
  };
}
