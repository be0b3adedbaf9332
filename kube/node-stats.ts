/** What a node's kubelet tells of the containers on it (`/stats/summary`), as far as the mesh reads it. */

export interface ContainerStats {
  name: string;
  /** `time`: when it was measured, RFC 3339; a kubelet measures every ten to fifteen seconds. */
  cpu?: { time: string; usageCoreNanoSeconds?: number };
  memory?: { time: string; workingSetBytes?: number };
}

export interface PodStats {
  podRef: { name: string; namespace: string; uid: string };
  containers: ContainerStats[];
}

export interface NodeStats {
  pods: PodStats[];
}
