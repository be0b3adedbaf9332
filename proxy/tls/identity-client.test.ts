import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test, vi } from 'vitest';
import type { CertificateRequest, SpiffeId } from '../../protocol/identity.ts';
import { parseRequest } from '../../protocol/x509.ts';
import { createLogger } from '../log.ts';
import { Credentials } from './credentials.ts';
import { IdentityClient } from './identity-client.ts';
import { TestCa } from './test-ca.ts';

const ca = new TestCa();
const control = 'spiffe://cluster.local/ns/mesh-system/sa/mesh-control' as SpiffeId;
const own = 'spiffe://cluster.local/ns/shop/sa/web' as SpiffeId;
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const one of cleanup.splice(0)) one();
});

/** A control plane that certifies for `seconds`, or refuses while it is told to. */
async function start(seconds: number, shown = control) {
  const state = { refusing: false, tokens: [] as string[], at: [] as number[] };
  const { pem } = ca.credentials(shown);
  const server = createServer({ ...pem, minVersion: 'TLSv1.3' }, async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const asked = JSON.parse(Buffer.concat(chunks).toString()) as CertificateRequest;
    state.tokens.push(asked.token);
    state.at.push(performance.now());
    if (state.refusing) {
      response.writeHead(503).end(JSON.stringify({ code: 'unavailable', message: 'try again' }));
      return;
    }
    const certified = ca.certify(own, seconds, parseRequest(asked.csr).publicKey);
    response.end(
      JSON.stringify({
        chain: certified.chain,
        trustBundle: ca.bundle,
        notBefore: certified.notBefore.toISOString(),
        notAfter: certified.notAfter.toISOString(),
      }),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { state, ...ask((server.address() as AddressInfo).port) };
}

/** Has a proxy ask for its certificate on a port. */
function ask(port: number) {
  const folder = mkdtempSync(join(tmpdir(), 'mesh-identity-'));
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'first\n');
  const credentials = new Credentials(ca.bundle);
  const lines: string[] = [];
  const client = new IdentityClient({
    identity: own,
    trustDomain: 'cluster.local',
    controlIdentity: control,
    host: '127.0.0.1',
    port,
    tokenFile,
    credentials,
    log: createLogger('info', (line) => lines.push(line)),
    random: () => 0.5,
  });
  cleanup.push(() => {
    client.stop();
    rmSync(folder, { recursive: true });
  });
  client.start();
  return { credentials, tokenFile, lines };
}

const within = { timeout: 5_000, interval: 20 };

test('the first certificate is for the asked identity and can be used', async () => {
  const { state, credentials } = await start(600);
  await vi.waitFor(() => expect(credentials.certified).toBeDefined(), within);
  expect(credentials.context).toBeDefined();
  expect(state.tokens).toEqual(['first']);
});

test('it renews at about 70 % of the lifetime, with the token that is there then', async () => {
  const { state, credentials, tokenFile } = await start(3);
  await vi.waitFor(() => expect(credentials.certified).toBeDefined(), within);
  const before = credentials.certified!.chain;
  writeFileSync(tokenFile, 'second\n');
  await vi.waitFor(() => expect(credentials.certified!.chain).not.toBe(before), within);
  expect(state.tokens.slice(0, 2)).toEqual(['first', 'second']);
  const waited = state.at[1]! - state.at[0]!;
  expect(waited).toBeGreaterThan(1_500);
  expect(waited).toBeLessThan(3_000);
});

test('the present certificate stays while the server refuses', async () => {
  const { state, credentials, lines } = await start(2);
  await vi.waitFor(() => expect(credentials.certified).toBeDefined(), within);
  const present = credentials.certified;
  state.refusing = true;
  await vi.waitFor(() => expect(state.tokens.length).toBeGreaterThan(1), within);
  await vi.waitFor(() => expect(lines.join('')).toContain('unavailable: try again'), within);
  expect(credentials.certified).toBe(present);
  state.refusing = false;
  await vi.waitFor(() => expect(credentials.certified).not.toBe(present), within);
});

test('a server of another identity is told nothing', async () => {
  const { state, lines } = await start(600, own);
  await vi.waitFor(() => expect(lines.join('')).toContain('identity-mismatch'), within);
  expect(state.tokens).toEqual([]);
});

test('a control plane that is slow with its handshakes gets more time after each try, up to a limit', async () => {
  const silent = createTcpServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  cleanup.push(() => silent.close());
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  cleanup.push(() => void vi.useRealTimers());
  const { lines } = ask((silent.address() as AddressInfo).port);
  // A moment of the clock for each turn of the event loop, in which a connection comes to be.
  for (let turns = 0; turns < 50_000 && lines.length < 6; turns++) {
    await vi.advanceTimersByTimeAsync(10);
    await turn();
  }
  const waited = lines.map((line) => Number(/did not answer within (\d+) ms/.exec(line)?.[1]));
  expect(waited).toEqual([5_000, 10_000, 20_000, 40_000, 40_000, 40_000]);
});
