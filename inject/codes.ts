/** Why an object did not get a proxy; docs/injection.md explains the same codes. */
export const injectCodes = [
  'not-a-workload',
  'annotation-disabled',
  'annotation-absent',
  'already-injected',
  'bad-annotation',
  'no-containers',
  'host-network',
  'foreign-sidecar',
  'not-linux',
  'port-conflict',
  'user-conflict',
  'yaml-layout',
] as const;

export type InjectCode = (typeof injectCodes)[number];
