/** The one pure function manifest → meshed manifest, used by the CLI and by the webhook. */
export { injectPod, uninjectPod } from './pod.ts';
export type { InjectOptions, InjectResult, PodOwner, PodTemplate } from './types.ts';
