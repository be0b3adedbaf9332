/** What the webhook needs of injection: the one pure function, the same that `mesh inject` uses, and why it may refuse. */
export { obstacle } from './obstacles.ts';
export { injectPod } from './pod.ts';
