import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as der from '../../protocol/der.ts';
import { makeRequest, pemBlocks } from '../../protocol/x509.ts';
import { FakeKube } from '../fake-kube.ts';
import { addToken, config, day, log, makeAuthority } from '../test-parts.ts';
import { Authority } from './authority.ts';
import { makeOwnCertificate } from './own-certificate.ts';
import { certify, type SigningOptions } from './sign.ts';

const id = 'spiffe://cluster.local/ns/shop/sa/web';
const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

async function signing(): Promise<SigningOptions & { kube: FakeKube }> {
  const kube = new FakeKube();
  addToken(kube, 'good', 'web');
  addToken(kube, 'for-others', 'web', 'vault');
  kube.tokens.set('person', { username: 'alice', audiences: ['mesh'] });
  return { kube, authority: await makeAuthority(kube), trustDomain: 'cluster.local', lifetimeMs: day };
}

const chainOf = (pem: string) => pemBlocks(pem, 'CERTIFICATE').map((block) => new X509Certificate(block));

test('a token and its identity get a certificate that chains to the root', async () => {
  const options = await signing();
  const answer = await certify(options, 'good', makeRequest(newKey(), id));
  const [leaf, issuer] = chainOf(answer.chain);
  const root = new X509Certificate(answer.trustBundle);
  expect(leaf!.subjectAltName).toBe(`URI:${id}`);
  expect(leaf!.ca).toBe(false);
  expect(leaf!.verify(issuer!.publicKey) && leaf!.checkIssued(issuer!)).toBe(true);
  expect(issuer!.verify(root.publicKey) && issuer!.checkIssued(root) && issuer!.ca).toBe(true);
  expect(Date.parse(answer.notAfter) - Date.now()).toBeGreaterThan(day - 60_000);
});

const openssl = '/usr/bin/openssl';
if (!existsSync(openssl)) process.stderr.write(`certificate chain by openssl skipped: needs ${openssl}\n`);

test.skipIf(!existsSync(openssl))('openssl accepts the chain', async () => {
  const answer = await certify(await signing(), 'good', makeRequest(newKey(), id));
  const [leaf, issuer] = pemBlocks(answer.chain, 'CERTIFICATE').map((block) => new X509Certificate(block).toString());
  const folder = mkdtempSync(path.join(tmpdir(), 'mesh-sign-'));
  const write = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  try {
    const files = ['-CAfile', write('root', answer.trustBundle), '-untrusted', write('issuer', issuer!)];
    const leafFile = write('leaf', leaf!);
    for (const purpose of ['sslserver', 'sslclient']) {
      const arguments_ = ['verify', '-x509_strict', '-purpose', purpose, ...files, leafFile];
      expect(execFileSync(openssl, arguments_).toString()).toContain('OK');
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function forged(): string {
  const [block] = pemBlocks(makeRequest(newKey(), id), 'CERTIFICATE REQUEST');
  const bytes = Buffer.from(block!);
  bytes[bytes.indexOf('/sa/web') + 4] = 'x'.charCodeAt(0);
  return `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** A request for any names, each already in DER, with any key. */
function requestFor(names: Buffer[], pair = newKey(), digest = 'sha256'): string {
  const extension = der.sequence(der.oid('2.5.29.17'), der.octets(der.sequence(...names)));
  const asked = der.sequence(der.oid('1.2.840.113549.1.9.14'), der.set(der.sequence(extension)));
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
  const body = der.sequence(der.integer(Buffer.from([0])), der.sequence(), spki, der.context(0, asked, true));
  const algorithm = der.sequence(der.oid('1.2.840.10045.4.3.2'));
  const bytes = der.sequence(body, algorithm, der.bits(sign(digest, body, pair.privateKey)));
  return `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
}
const uri = (text: string) => der.context(6, Buffer.from(text), false);
const dns = (text: string) => der.context(2, Buffer.from(text), false);
const otherKey = (curve: string) => generateKeyPairSync('ec', { namedCurve: curve });

test('a request made by hand with the one right name is good', async () => {
  await expect(certify(await signing(), 'good', requestFor([uri(id)]))).resolves.toMatchObject({ identity: id });
});

test('whatever bytes a request is of, it is refused as one that is not usable', async () => {
  const options = await signing();
  const good = Buffer.from(pemBlocks(requestFor([uri(id)]), 'CERTIFICATE REQUEST')[0]!);
  const flipped = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, by]) => {
    const bytes = Buffer.from(good);
    bytes[at]! ^= by;
    return bytes;
  });
  const bytes = fc.oneof(
    flipped,
    fc.nat(good.length - 1).map((end) => good.subarray(0, end)),
    fc.uint8Array(),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (broken) => {
      const text = Buffer.from(broken).toString('base64');
      const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${text}\n-----END CERTIFICATE REQUEST-----\n`;
      await expect(certify(options, 'good', pem)).rejects.toMatchObject({ name: 'Refusal', status: 400 });
    }),
  );
});

test.each([
  ['two names', 'good', () => requestFor([uri(id), uri(`${id}-2`)]), 403, 'one-name'],
  ['a DNS name besides', 'good', () => requestFor([uri(id), dns('web.shop.svc')]), 403, 'one-name'],
  ['no name', 'good', () => requestFor([]), 403, 'one-name'],
  ['another trust domain', 'good', () => requestFor([uri(id.replace('cluster', 'evil'))]), 403, 'identity-mismatch'],
  ['another curve', 'good', () => requestFor([uri(id)], otherKey('secp384r1')), 400, 'bad-request'],
  ['two requests', 'good', () => requestFor([uri(id)]) + requestFor([uri(id)]), 400, 'bad-request'],
  ['an unknown token', 'nothing', () => makeRequest(newKey(), id), 401, 'token-refused'],
  ['a token for another audience', 'for-others', () => makeRequest(newKey(), id), 401, 'token-refused'],
  ['a token of a person', 'person', () => makeRequest(newKey(), id), 403, 'not-a-service-account'],
  ['a forged request', 'good', forged, 400, 'bad-request'],
  ['no request', 'good', () => 'hello', 400, 'bad-request'],
  ['another identity', 'good', () => makeRequest(newKey(), `${id}-other`), 403, 'identity-mismatch'],
])('%s is refused', async (_what, token, request, status, code) => {
  await expect(certify(await signing(), token, request())).rejects.toMatchObject({ status, code });
});

test('a review that names no audience is not believed', async () => {
  const options = await signing();
  const create = options.kube.create.bind(options.kube);
  options.kube.create = async (type, object) => {
    const review = await create(type, object);
    return { ...review, status: { ...review.status, audiences: undefined } };
  };
  await expect(certify(options, 'good', makeRequest(newKey(), id))).rejects.toMatchObject({ code: 'token-audience' });
});

test('a leaf never outlives its issuer', async () => {
  const kube = new FakeKube();
  const authority = await makeAuthority(kube, Date.now, 3_600_000);
  addToken(kube, 'good', 'web');
  const options = { kube, authority, trustDomain: 'cluster.local', lifetimeMs: day };
  const [leaf, issuer] = chainOf((await certify(options, 'good', makeRequest(newKey(), id))).chain);
  expect(leaf!.validTo).toBe(issuer!.validTo);
});

test('the issuer is replaced at half its life, once, by replicas that race', async () => {
  const kube = new FakeKube();
  let time = Date.now();
  const now = () => time;
  const options = { kube, namespace: 'mesh-system', issuerLifetimeMs: 100 * day, certificateLifetimeMs: day, log, now };
  const [first, second] = [await Authority.open(options), await Authority.open(options)];
  const before = first.issuer.certificate.fingerprint256;
  expect(second.issuer.certificate.fingerprint256).toBe(before);
  time += 49 * day;
  expect(await first.refresh()).toBe(false);
  time += 2 * day;
  await Promise.all([first.refresh(), second.refresh()]);
  expect(first.issuer.certificate.fingerprint256).not.toBe(before);
  expect(second.issuer.certificate.fingerprint256).toBe(first.issuer.certificate.fingerprint256);
  expect(first.trustBundle).toBe(second.trustBundle);
});

test('the own certificate is renewed at 70 % of its own life, however short', async () => {
  const now = Date.now();
  const authority = await makeAuthority(new FakeKube(), () => now, 3_600_000);
  const own = makeOwnCertificate(authority, config, now);
  const life = own.notAfter.getTime() - now;
  expect(life).toBeLessThanOrEqual(3_600_000);
  expect(Math.abs(own.renewAt.getTime() - now - 0.7 * life)).toBeLessThan(2);
});
