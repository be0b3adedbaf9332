/** Runs one load of load/paced.ts in a pod: LoadOptions as JSON in, LoadResult out. */
import { runPaced } from '../load/paced.ts';

process.stdout.write(JSON.stringify(await runPaced(JSON.parse(process.argv[2]!))));
