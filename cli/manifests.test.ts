import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificate } from '../protocol/x509.ts';

const source = 'kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a}]}\n';
const folder = mkdtempSync(join(tmpdir(), 'mesh-sources-'));
const ca = join(folder, 'ca.crt');
let server: https.Server;
let base = '';

beforeAll(async () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const issuer = { subject: 'test', ...pair };
  const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];
  const root = makeCertificate({ ...issuer, issuer, notBefore, notAfter, authority: { pathLength: 0 } });
  const names = { uris: [], dns: ['localhost'] };
  const cert = makeCertificate({ subject: '', publicKey: pair.publicKey, issuer, notBefore, notAfter, names });
  writeFileSync(ca, root);
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
  server = https.createServer({ key, cert }, (request, response) => {
    const to = (location: string) => response.writeHead(302, { location }).end();
    switch (request.url) {
      case '/pod.yaml':
        return response.end(source);
      case '/moved.yaml':
        return to('/pod.yaml');
      case '/plain.yaml':
        return to('http://localhost:1/pod.yaml');
      case '/circle.yaml':
        return to('/circle.yaml');
      case '/silent.yaml':
        return response.writeHead(200).write('kind: Pod\n');
      case '/large.yaml': {
        const chunk = Buffer.alloc(1 << 20, '#');
        const more = (): void => {
          while (!response.destroyed && response.write(chunk));
        };
        response.on('drain', more);
        return more();
      }
      default:
        return response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `https://localhost:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

/** A process of its own: which CAs Node trusts is settled as it starts. */
function inject(args: string[], trusted = true) {
  const main = join(import.meta.dirname, 'main.ts');
  const env = { HOME: folder, LANG: 'C.UTF-8', ...(trusted ? { NODE_EXTRA_CA_CERTS: ca } : {}) };
  return new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    const child = spawn(process.execPath, [main, 'inject', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const text = { out: '', err: '' };
    child.stdout.on('data', (chunk) => {
      text.out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      text.err += chunk;
    });
    child.on('close', (code) => resolve({ code, ...text }));
  });
}

test.each(['pod', 'moved'])('%s.yaml is read over https', async (name) => {
  const { code, out, err } = await inject([`${base}/${name}.yaml`]);
  expect([code, err]).toEqual([0, 'pod/web injected\n']);
  expect(out).toContain('mesh-proxy');
});

test.each([
  ['an address that is not there', 'none.yaml', 'the server answers 404 Not Found', 'Check the address.'],
  ['a way out of https', 'plain.yaml', 'it leads to http://localhost:1/pod.yaml', 'Only https addresses are read.'],
  ['a circle', 'circle.yaml', 'it leads from one address to the next', 'Name the last.'],
  ['a server that stops half way', 'silent.yaml', 'no whole answer within 1s', '--request-timeout 60s'],
  ['a text without end', 'large.yaml', 'it is larger than 16 MiB', 'Check the address.'],
])('%s is refused with the reason', async (_what, name, why, fix) => {
  const limit = name === 'silent.yaml' ? ['--request-timeout', '1s'] : [];
  const { code, out, err } = await inject([...limit, `${base}/${name}`]);
  expect([code, out]).toEqual([1, '']);
  expect(err).toContain(`Cannot fetch ${base}/${name}: ${why}`);
  expect(err).toContain(fix);
  expect(err).toContain('errors#unreadable-input');
});

test('a server of an unknown CA is refused, and the way to name it is told', async () => {
  const { code, err } = await inject([`${base}/pod.yaml`], false);
  expect(code).toBe(1);
  expect(err).toContain(`Cannot fetch ${base}/pod.yaml: `);
  expect(err).toContain('NODE_EXTRA_CA_CERTS');
});

test('nobody at home is told as what it is', async () => {
  const other = https.createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as AddressInfo;
  await new Promise((resolve) => other.close(resolve));
  const { code, err } = await inject([`https://localhost:${port}/pod.yaml`]);
  expect(code).toBe(1);
  expect(err).toContain('ECONNREFUSED');
});
