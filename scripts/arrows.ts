/** `npm run arrows`: the dependency arrows hold, and a forbidden import is found (a check that cannot fail is none). */
import { rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { execa } from 'execa';

const config = createRequire(import.meta.url)('../.dependency-cruiser.cjs') as { forbidden: { name: string }[] };
/** Every folder that has a rule of its own. */
const parts = config.forbidden.flatMap(({ name }) => /^(.+)-imports$/.exec(name)?.[1] ?? []);

async function cruise(): Promise<{ failed: boolean; output: string; modules: number }> {
  const result = await execa('depcruise', ['--config', '.dependency-cruiser.cjs', ...parts], {
    preferLocal: true,
    reject: false,
    all: true,
  });
  const modules = Number(/(\d+) modules/.exec(result.all)?.[1] ?? 0);
  return { failed: result.exitCode !== 0, output: result.all, modules };
}

const probe = 'protocol/forbidden-import-probe.ts';
await writeFile(probe, "import { keyOf } from '../local/controllers/controller.ts';\nexport const probe = keyOf;\n");
const forbidden = await cruise().finally(() => rm(probe));
if (!forbidden.failed || !forbidden.output.includes('protocol-imports')) {
  process.stderr.write(`a forbidden import was not found:\n${forbidden.output}\n`);
  process.exit(1);
}
const real = await cruise();
process.stdout.write(`${real.output}\n`);
if (real.modules < 50) {
  process.stderr.write(`only ${real.modules} modules were read; dependency-cruiser sees no TypeScript\n`);
  process.exit(1);
}
process.exit(real.failed ? 1 : 0);
