/** `mesh bench` against a real workload: what it counts, and that it leaves nothing behind. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BenchReport } from '../../cli/bench/report.ts';
import { resources } from '../../kube/resources.ts';
import { bin, environment } from '../support/cli.ts';
import { onCluster, unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { LocalMesh } from '../support/local-mesh.ts';
import { nodeCommand, type TestMesh, until, workload } from '../support/mesh.ts';

const port = 8000;
/**
 * Answers by path: each fourth request to /flaky with 500, to /nothing with 404, where they name the host that the URL of
 * the test has.
 */
const program = (flakyHost: string) => `
import http from 'node:http';
let count = 0;
http.createServer(({ url, headers }, response) => {
  const flaky = headers.host === '${flakyHost}' ? (++count % 4 ? 200 : 500) : 421;
  const nothing = headers.host === 'web:${port}' ? 404 : 421;
  response.writeHead({ '/': 200, '/plain': 200, '/flaky': flaky, '/nothing': nothing }[url] ?? 400).end('hello');
}).listen(${port});
process.on('SIGTERM', () => process.exit(0));`;

if (onCluster) process.stderr.write('Ctrl-C, skipped: it is the same command on a cluster\n');

describe.skipIf(unable)('mesh bench', () => {
  let mesh: TestMesh;
  /** What there is before any measurement: a list taken later may hold what an earlier one is just losing. */
  let before: string[];
  const flakyHost = () => `web.${mesh.namespace}:${port}`;
  const folder = mkdtempSync(join(tmpdir(), 'mesh-bench-'));

  beforeAll(async () => {
    mesh = await installMesh('bench');
    await mesh.apply(workload('web', nodeCommand(program(flakyHost())), { port }), true);
    await mesh.ready('web');
    before = await objects();
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    expect((await mesh?.uninstall()) ?? []).toEqual([]);
  });

  const quick = ['--rate', '40', '--duration', '2s', '--rounds', '2', '--connections', '4', '--yes'];
  const bench = (...args: string[]): Promise<string> => mesh.mesh(['-n', mesh.namespace, 'bench', ...args, ...quick]);
  const report = async (...args: string[]): Promise<BenchReport> =>
    JSON.parse(await bench(...args, '-o', 'json')) as BenchReport;
  /** What has the label of a measurement, and the workload itself. */
  const objects = async () => {
    const { namespace } = mesh;
    const all = [resources.pods, resources.deployments, resources.replicaSets, resources.services];
    const found = await Promise.all(all.map((type) => mesh.client.list(type, { namespace })));
    return found.flat().map((one) => one.metadata.name!);
  };

  /** What belongs to a Deployment goes a moment after it. */
  const restored = () => until('all is as it was', async () => isDeepStrictEqual(await objects(), before));

  test('measures copies without and with the mesh, and leaves all as it was', async () => {
    const picture = join(folder, 'web.svg');
    const seen = await report('deploy/web', '--path', '/plain', '--svg', picture);
    expect(seen).toMatchObject({
      deployment: 'web',
      port,
      path: '/plain',
      protocol: 'http1',
      rounds: 2,
      round_seconds: 1,
    });
    for (const mode of [seen.without, seen.mesh]) {
      expect(mode).toMatchObject({ requests: 80, errors: 0, error_causes: {} });
      const steps = [mode.p50_ms, mode.p90_ms, mode.p99_ms, mode.p99_9_ms, mode.max_ms];
      expect(steps).toEqual([...steps].sort((a, b) => a - b));
      expect(steps[0]).toBeGreaterThan(0);
      expect(mode.application?.memory_bytes).toBeGreaterThan(1e6);
      expect(mode.application?.cpu_us_per_request).toBeGreaterThan(0);
    }
    expect(seen.without.proxies).toBeNull();
    for (const proxy of Object.values(seen.mesh.proxies!)) {
      expect(proxy.memory_bytes).toBeGreaterThan(1e6);
      expect(proxy.cpu_us_per_request).toBeGreaterThan(0);
    }
    expect(readFileSync(picture, 'utf8').match(/<polyline /g)).toHaveLength(2);
    await restored();
  });

  test('asks for what the clients of a service ask for, and counts failures by their cause', async () => {
    const { without, mesh: with_ } = await report(`http://${flakyHost()}/flaky`);
    for (const mode of [without, with_]) {
      expect(Object.keys(mode.error_causes)).toEqual(['status 500']);
      expect(mode.errors).toBeGreaterThanOrEqual(19);
      expect(mode.errors).toBeLessThanOrEqual(21);
    }
  });

  test('what is never answered with success is an error that says what came', async () => {
    const failed = await bench(`http://web:${port}/nothing`, '-o', 'json').catch((error: Error) => error.message);
    expect(failed).toContain('"code":"bench-failed"');
    expect(failed).toContain('status 404');
    await restored();
  });

  test.skipIf(onCluster).each(['SIGINT', 'SIGTERM'] as const)('%s removes the copies', async (signal) => {
    if (!(mesh instanceof LocalMesh)) throw new Error('this needs a local mesh');
    const running = execa(bin, ['bench', 'deploy/web', '--duration', '1m', '--yes'], {
      ...{ env: environment(mesh.home), extendEnv: false, reject: false },
    });
    let said = '';
    running.stderr.on('data', (chunk) => {
      said += chunk;
    });
    await until('the measurement begins', () => said.includes('Measuring'), 60);
    running.kill(signal);
    expect((await running).exitCode).toBe(130);
    expect(said).toContain('Interrupted; the copies are removed');
    await restored();
  });
});
