/** Installs what the tests talk to, bundles, and runs tests. Arguments go to vitest: `npm test` names the projects. */
import { execa } from 'execa';
import { ensurePrograms, runtimePrograms, testPrograms } from './programs.ts';

const system = process.getuid?.() === 0;
if (system) await ensurePrograms({ ...runtimePrograms, ...testPrograms });
else process.stderr.write('not root: tests that need network namespaces say so and are skipped\n');
await execa('node', ['scripts/build.ts'], { stdio: 'inherit' });
const result = await execa('vitest', ['run', ...process.argv.slice(2)], {
  preferLocal: true,
  stdio: 'inherit',
  reject: false,
  env: { NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
});
process.exitCode = result.exitCode ?? 1;
