/** The one pure function manifest → meshed manifest, used by the CLI and by the webhook. */
export type { InjectOptions, InjectResult, PodOwner, PodTemplate } from './types.ts';
// injectPod(template: PodTemplate, owner: PodOwner, options: InjectOptions): InjectResult
// uninjectPod(template: PodTemplate): PodTemplate
