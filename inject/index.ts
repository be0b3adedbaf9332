/** What the control plane needs of injection: the one pure function, the same that `mesh inject` uses, and its judgements. */
export { obstacle } from './obstacles.ts';
export { injectPod } from './pod.ts';
export { annotationProblems } from './settings.ts';
