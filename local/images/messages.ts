/** What the program that changes images says to the command line. */
import type { Failure } from '../messages.ts';
import type { StoredImage } from './store.ts';

export type ImageMessage =
  | { type: 'step'; step: string }
  | { type: 'loaded'; images: StoredImage[]; notes: string[] }
  | { type: 'removed'; id: string; removed: boolean }
  | { type: 'failed'; failure: Failure };
