import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { variablePrefix as agentPrefix, agentVariables } from '../cni/agent-config.ts';
import { createAdminServer } from '../control/admin.ts';
import { variablePrefix as controlPrefix, controlVariables, readConfig } from '../control/config.ts';
import { controlMetrics } from '../control/metrics.ts';
import { listen } from '../control/test-parts.ts';
import { variablePrefix as proxyPrefix, proxyVariables } from '../proxy/config.ts';
import { createMetrics } from '../proxy/telemetry/metrics.ts';
import { Telemetry } from '../proxy/telemetry/telemetry.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
/** Cells of the table rows below a heading. */
const rows = (file: string, heading: string) => {
  const section = read(`docs/${file}`).split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| (.*) \|$/gm)]
    .map((match) => match[1]!.split(' | '))
    .filter(([cell]) => cell![0] === '`');
};

describe('docs/configuration.md', () => {
  test.each([
    ['The proxy', proxyPrefix, proxyVariables],
    ['The control plane', controlPrefix, controlVariables],
    ['The agent of the CNI plugin', agentPrefix, agentVariables],
  ] as const)('lists exactly the variables of: %s', (heading, prefix, variables) => {
    const expected = Object.entries<{ about: string; default?: string }>(variables).map(([name, one]) => [
      `\`${prefix}${name}\``,
      one.about,
      one.default === undefined ? 'must be set' : one.default === '' ? '-' : `\`${one.default}\``,
    ]);
    expect(rows('configuration.md', heading)).toEqual(expected);
  });

  test('lists exactly the variables of the init step, the validate step and the command line', () => {
    const used = (file: string, pattern: RegExp) => [...new Set(read(file).match(pattern))].sort();
    const listed = (heading: string) =>
      rows('configuration.md', heading)
        .map(([name]) => name!.replaceAll('`', ''))
        .sort();
    expect(listed('The init step')).toEqual(used('proxy/init.ts', /MESH_INIT_[A-Z_]+/g));
    expect(listed('The validate step')).toEqual(used('proxy/validate.ts', /MESH_VALIDATE_[A-Z_]+/g));
    const topics = used('cli/help-topics.ts', /^ {2}[A-Z][A-Z_]+(?:, [A-Z_]+)*(?= )/gm);
    expect(listed('The command line')).toEqual(topics.flatMap((names) => names.trim().split(', ')).sort());
  });
});

test.each([
  [{ MESH_CONTROL_LOG_LEVEL: 'loud', MESH_CONTROL_ISSUER_LIFETIME: '1s' }, ['"loud" is not', '"1s" is not a duration']],
  [{ MESH_CONTROL_LOGLEVEL: 'info' }, ['MESH_CONTROL_LOGLEVEL: there is no such setting']],
  [{ MESH_CONTROL_TRUST_DOMAIN: 'A B' }, ['"A B" is not a trust domain']],
  [
    { MESH_CONTROL_OTLP_ENDPOINT: 'collector:4318', MESH_CONTROL_TRACE_RATIO: '1.5' },
    ['"collector:4318" is not an address', '"1.5" is not a number from 0 to 1'],
  ],
])('a control plane started with %j names everything wrong', (env, wanted) => {
  for (const text of wanted) expect(() => readConfig(env)).toThrow(text);
});

test('what Kubernetes says of the Service is no setting', () => {
  const env = {
    MESH_CONTROL_SERVICE_HOST: '10.0.0.1',
    MESH_CONTROL_PORT_8080_TCP_PORT: '8080',
    MESH_CONTROL_PORT: 'x',
  };
  expect(readConfig(env).trustDomain).toBe('cluster.local');
});

/** Name, type and help of each of the mesh's own metrics in an exposition. */
function described(text: string): string[][] {
  const types = new Map([...text.matchAll(/^# TYPE (mesh_\S+) (\S+)$/gm)].map((match) => [match[1]!, match[2]!]));
  return [...text.matchAll(/^# HELP (mesh_\S+) (.*)$/gm)].map(([, name, help]) => [
    `\`${name}\``,
    types.get(name!)!,
    help!,
  ]);
}

describe('docs/metrics.md', () => {
  test('lists exactly what a proxy exposes', async () => {
    const metrics = createMetrics(new Telemetry(), { certified: undefined } as never, []);
    expect(rows('metrics.md', 'The proxy')).toEqual(described(await metrics.text()));
  });

  test('lists exactly what the control plane exposes', async () => {
    const one = () => 1;
    const metrics = controlMetrics({
      ...{ proxies: one, targets: one, series: one, telemetryBytes: one, issued: one, refused: one, unmeshed: one },
      reviews: () => new Map([['injected', 3]]),
      issuerEnd: () => new Date(5_000_000),
      rootEnd: () => undefined,
    });
    const waiting = ['identity'];
    const server = createAdminServer({ waitingFor: () => waiting, metrics });
    const base = `http://127.0.0.1:${await listen(server)}`;
    const get = async (path: string) => {
      const response = await fetch(base + path);
      return [response.status, await response.text()] as const;
    };
    expect(await get('/live')).toEqual([200, 'live\n']);
    expect(await get('/ready')).toEqual([503, 'not ready: waiting for identity\n']);
    waiting.pop();
    expect(await get('/ready')).toEqual([200, 'ready\n']);
    expect(await get('/other')).toEqual([404, 'not found: /ready, /live, /metrics\n']);
    await get('/metrics');
    const [, text] = await get('/metrics');
    server.close();
    server.closeAllConnections();
    expect(rows('metrics.md', 'The control plane')).toEqual(described(text));
    expect(text).toContain('mesh_control_injections_total{result="injected"} 3\n');
    expect(text).toContain('mesh_control_proxies 1\n');
    expect(text).toContain('mesh_control_issuer_expiry_timestamp_seconds 5000\n');
  });
});

test('docs/identity.md lists exactly the reasons for which a certificate is refused', () => {
  const source = ['sign', 'server'].map((name) => read(`control/identity/${name}.ts`)).join('\n');
  const refusals = [...source.matchAll(/new Refusal\(\s*(\d+),\s*'([a-z-]+)'/g)].map((match) => [match[2]!, match[1]!]);
  const wanted = [...new Set(refusals.map(([code, status]) => `\`${code}\` ${status}`))].sort();
  const listed = rows('identity.md', 'Why a certificate is refused').map(([code, status]) => `${code} ${status}`);
  expect(wanted.length).toBeGreaterThan(8);
  expect([...listed].sort()).toEqual(wanted);
});

test('docs/proxy-protocol.md shows every message of the protocol, as JSON', () => {
  const types = (text: string, pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map((match) => match[1]!))];
  const declared = types(read('protocol/discovery.ts'), /\| \{ type: '([a-z-]+)'/g);
  expect(declared.length).toBeGreaterThan(8);
  expect(types(read('docs/proxy-protocol.md'), /^ {4}\{"type":"([a-z-]+)"/gm).sort()).toEqual(declared.sort());
});

test('docs/README.md lists every page, and no link of the documentation leads nowhere', () => {
  const pages = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
  const index = read('docs/README.md');
  expect(pages.filter((page) => !index.includes(`](${page})`))).toEqual([]);
  const broken = ['README.md', ...pages].flatMap((page) =>
    [...read(`docs/${page}`).matchAll(/\]\(([a-z-]+\.md)(#[a-z-]+)?\)/gi)]
      .map((match) => match[1]!)
      .filter((to) => !pages.includes(to))
      .map((to) => `${page}: ${to}`),
  );
  expect(broken).toEqual([]);
});
