/** Why an object did not get a proxy; docs/injection.md explains the same codes. */
export const injectCodes = [
  'not-a-workload',
  'annotation-disabled',
  'annotation-absent',
  'already-injected',
  'no-containers',
  'host-network',
  'foreign-sidecar',
  'yaml-layout',
] as const;

export type InjectCode = (typeof injectCodes)[number];
