/** gRPC as others wrote it, grpc-js and Python's grpcio, each with each through a mesh: what it promises, case by case. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { node, unable } from '../support/ground.ts';
import { grpcPython } from '../support/grpc/python.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { type PodObject, type TestMesh, workload } from '../support/mesh.ts';

const programs = join(import.meta.dirname, '../support/grpc');
const port = 9000;
const python = unable ? undefined : await grpcPython();
const languages = python ? ['js', 'py'] : ['js'];
const pairs = languages.flatMap((client) => languages.map((server) => [client, server] as const));

/** The command of a program in a language. */
const program = (language: string, name: 'client' | 'server', ...args: string[]) =>
  language === 'js' ? [node, join(programs, `${name}.ts`), ...args] : [python!, join(programs, `${name}.py`), ...args];

describe.skipIf(unable)('gRPC', () => {
  let mesh: TestMesh;
  const pods: Record<string, PodObject> = {};

  beforeAll(async () => {
    mesh = await installMesh('grpc');
    const servers = languages.map((one) => workload(one, program(one, 'server', String(port)), { port }));
    await mesh.apply(servers.join('\n---\n'), true);
    for (const one of languages) [pods[one]] = (await mesh.ready(one)) as [PodObject];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  async function ask(client: string, server: string, ...args: string[]): Promise<string[]> {
    const said = await mesh.exec(pods[client]!, ...program(client, 'client', `${server}:${port}`, ...args));
    return said.split('\n');
  }

  test.each(pairs)('%s to %s: every kind of call, and every way that one ends', async (client, server) => {
    const lines = await ask(client, server);
    expect(lines.filter((line) => !line.startsWith('ok '))).toEqual([]);
    expect(lines.length).toBe(21);
  });

  test.each(pairs)(
    '%s to %s: a server that ends lets a stream finish, and its successor is found',
    async (client, server) => {
      expect(await ask(client, server, 'stop')).toEqual(['ok GOAWAY while streaming']);
    },
  );
});
