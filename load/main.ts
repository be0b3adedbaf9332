/** The load generator in a pod: takes LoadOptions, answers with LoadResult. */
import type { LoadOptions } from './options.ts';
import { runPaced } from './paced.ts';
import { serveLoads } from './serve.ts';

serveLoads<LoadOptions>(runPaced);
