/** Go's net/http, of a small program that is built where a Go tool is at hand. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import type { Address } from '../../../protocol/discovery.ts';
import { found } from '../../../scripts/programs.ts';
import { freePort, type ServerKind, startProgram } from './server.ts';

export const goServer: ServerKind = {
  name: 'go',
  missing: () => (found('go') || found('/usr/local/go/bin/go') ? undefined : 'apt-get install golang-go'),
  async start(folder) {
    const program = path.join(folder, 'reporter');
    const source = path.join(import.meta.dirname, 'reporter.go');
    const go = found('go') ? 'go' : '/usr/local/go/bin/go';
    const built = spawnSync(go, ['build', '-o', program, source], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`go build: ${built.stderr || built.error?.message}`);
    const port = await freePort();
    const child = await startProgram(program, [String(port)], port);
    const address = `127.0.0.1:${port}` as Address;
    return { name: 'go', address, tellsHeaders: true, heard: undefined, close: () => void child.kill('SIGKILL') };
  },
};
