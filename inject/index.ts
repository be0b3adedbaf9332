/** The one pure function manifest → meshed manifest, used by the CLI and by the webhook. */
export { injectPod } from './pod.ts';
