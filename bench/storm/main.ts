/**
 * `npm run bench:storm`: the load on a failing service three layers deep, with retries at each layer by the proxies, and
 * by the programs themselves. On a local mesh; needs root.
 */
import { orUsage, parseFlags, wholeNumber } from '../../scripts/flags.ts';
import { atOnce, Chain, type Fault, faults, type Retrier, retriers, tries } from '../../test/support/chain.ts';
import { markdown } from '../markdown.ts';
import { Ended, onOwnMesh } from '../own-mesh.ts';
import { circumstances, writeSection } from '../section.ts';

const say = (text: string): void => void process.stderr.write(`${text}\n`);

interface Row {
  fault: Fault;
  who: Retrier;
  load: number;
  good: number;
}

const meaning: Record<Fault, string> = {
  all: 'fails always',
  half: 'fails half the time',
  slow: 'answers too late',
};
const title: Record<Retrier, string> = { mesh: 'the proxies, as annotated', programs: 'each program by itself' };

function table(rows: readonly Row[], requests: number): string {
  const head = ['the last service', 'who retries', 'requests it got', 'load / offered', 'answered well'];
  const cells = rows.map(({ fault, who, load, good }) => {
    const factor = (load / requests).toFixed(2);
    const share = Math.round((100 * good) / requests);
    return [meaning[fault], title[who], String(load), `${factor} ×`, `${share} %`];
  });
  return markdown(head, cells, [0, 1]);
}

async function main(): Promise<void> {
  const { values, requests } = orUsage('npm run bench:storm -- [--requests 400] [--write]', () => {
    const flags = parseFlags({
      options: { requests: { type: 'string', default: '400' }, write: { type: 'boolean', default: false } },
    });
    return { values: flags, requests: wholeNumber('--requests', flags.requests) };
  });
  const rows: Row[] = [];
  await onOwnMesh(say, async (mesh) => {
    const chain = await Chain.start(mesh, retriers);
    for (const fault of faults) {
      for (const who of retriers) {
        const run = await chain.run(who, fault, requests);
        rows.push({ fault, who, ...run });
        say(`${fault}, ${who}: ${run.load} requests at the last service`);
      }
    }
  });
  const text = `    npm run bench:storm -- --requests ${requests} --write

Measured ${circumstances()}. A client sends ${requests} requests, ${atOnce} at once, to the first of three services that call each other;
each layer may try ${tries} times in all. Every pod is meshed. The proxies retry as \`config.mesh.dev/retry: 5xx\` and
\`retry-limit: ${tries - 1}\` on each service ask; the programs, in the other rows, at once and whatever failed.

${table(rows, requests)}`;
  if (values.write) await writeSection('storm', text);
  else process.stdout.write(`${text}\n`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Ended)) throw error;
  process.exit(error.exitCode);
}
