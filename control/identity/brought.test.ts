import { generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { issuerFrom, makeCertificate, makeRequest, pemBlocks } from '../../protocol/x509.ts';
import { FakeKube } from '../fake-kube.ts';
import { addToken, day, log } from '../test-parts.ts';
import { Authority } from './authority.ts';
import { certify } from './sign.ts';
import { chainsTo, encode } from './signer.ts';

interface Made {
  pem: string;
  key: string;
  certificate: X509Certificate;
  privateKey: KeyObject;
}

function make(subject: string, above?: Made, days = 100, curve = 'prime256v1'): Made {
  const pair = generateKeyPairSync('ec', { namedCurve: curve });
  const issuer = above ? issuerFrom(above.certificate, above.privateKey) : { subject, ...pair };
  const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + days * day)];
  const authority = { pathLength: above ? 0 : 1 };
  const pem = makeCertificate({ subject, publicKey: pair.publicKey, issuer, notBefore, notAfter, authority });
  const key = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { pem, key, certificate: new X509Certificate(pem), privateKey: pair.privateKey };
}

/** As cert-manager writes it. */
function bring(kube: FakeKube, issuer: Made, ca: string | undefined, more: Record<string, string> = {}): void {
  kube.put(resources.secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'mesh-issuer', namespace: 'mesh-system' },
    type: 'kubernetes.io/tls',
    data: {
      'tls.crt': encode(issuer.pem),
      'tls.key': encode(issuer.key),
      ...(ca ? { 'ca.crt': encode(ca) } : {}),
      ...more,
    },
  });
}

function world() {
  const kube = new FakeKube();
  addToken(kube, 'good', 'web');
  const clock = { time: Date.now() };
  const open = () =>
    Authority.open({
      ...{ kube, namespace: 'mesh-system', issuerLifetimeMs: 100 * day, certificateLifetimeMs: day, log },
      now: () => clock.time,
    });
  const leaf = async (authority: Authority) => {
    const options = { kube, authority, trustDomain: 'cluster.local', lifetimeMs: day };
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const { chain } = await certify(options, 'good', makeRequest(pair, 'spiffe://cluster.local/ns/shop/sa/web'));
    return pemBlocks(chain, 'CERTIFICATE').map((block) => new X509Certificate(block));
  };
  return { kube, clock, open, leaf };
}

test('an issuer brought from the start signs, and only its root is trusted', async () => {
  const { kube, open, leaf } = world();
  const root = make('Acme root');
  const issuer = make('Acme mesh issuer', root);
  bring(kube, issuer, root.pem);
  const authority = await open();
  expect(authority.roots.map((one) => one.subject)).toEqual(['CN=Acme root']);
  const chain = await leaf(authority);
  expect(chain.map((one) => one.issuer)).toEqual(['CN=Acme mesh issuer', 'CN=Acme root']);
  expect(chain[0]!.checkIssued(issuer.certificate)).toBe(true);
  expect(authority.issuerIsTrusted && chainsTo(chain, authority.roots)).toBe(true);
});

test('a root brought alone, without ca.crt, signs by itself', async () => {
  const { kube, open, leaf } = world();
  bring(kube, make('Acme root'), undefined);
  const authority = await open();
  expect(chainsTo(await leaf(authority), authority.roots)).toBe(true);
});

test('a new issuer under the same root is used at once', async () => {
  const { kube, open } = world();
  const root = make('Acme root');
  bring(kube, make('one', root), root.pem);
  const authority = await open();
  bring(kube, make('two', root), root.pem);
  expect(await authority.refresh()).toBe(true);
  expect(authority.issuer.certificate.subject).toBe('CN=two');
  expect(await authority.refresh()).toBe(false);
});

test('a new root is told to all before it is used, and the old one is trusted while its certificates live', async () => {
  const { kube, clock, open, leaf } = world();
  const authority = await open();
  const before = await leaf(authority);
  const root = make('Acme root');
  bring(kube, make('Acme issuer', root), root.pem);

  expect(await authority.refresh()).toBe(true);
  expect(authority.roots.map((one) => one.subject)).toEqual(['CN=Acme root', 'CN=mesh root']);
  const meanwhile = await leaf(authority);
  expect(meanwhile[0]!.issuer).toBe('CN=mesh issuer');

  // A replica that starts meanwhile does as those do that saw the change.
  clock.time += 75_000;
  const started = await open();
  expect((await leaf(started))[0]!.issuer).toBe('CN=mesh issuer');

  clock.time += 76_000;
  for (const one of [authority, started]) expect(await one.refresh()).toBe(true);
  const after = await leaf(authority);
  expect(after[0]!.issuer).toBe('CN=Acme issuer');
  expect((await leaf(started))[0]!.issuer).toBe('CN=Acme issuer');
  for (const chain of [before, meanwhile, after]) expect(chainsTo(chain, authority.roots)).toBe(true);

  // Another replica, or this one after a restart, trusts the same.
  expect((await open()).trustBundle).toBe(authority.trustBundle);
  clock.time += day;
  expect((await open()).roots).toHaveLength(2);
  clock.time += 3_600_000;
  expect(await authority.refresh()).toBe(true);
  expect(authority.roots.map((one) => one.subject)).toEqual(['CN=Acme root']);

  kube.remove(resources.secrets, 'mesh-issuer', 'mesh-system');
  await authority.refresh();
  expect(authority.issuer.certificate.subject).toBe('CN=Acme issuer');
  clock.time += 151_000;
  await authority.refresh();
  expect(authority.issuer.certificate.subject).toBe('CN=mesh issuer');
});

test('a Secret of the identity that is deleted is put back as it was', async () => {
  const { kube, open, leaf } = world();
  const authority = await open();
  const before = await leaf(authority);
  const bundle = authority.trustBundle;
  kube.remove(resources.secrets, 'mesh-identity', 'mesh-system');
  expect(await authority.refresh()).toBe(false);
  expect(authority.trustBundle).toBe(bundle);
  const again = await open();
  expect(again.trustBundle).toBe(bundle);
  expect(chainsTo(before, again.roots)).toBe(true);
});

test('a Secret of the identity that became another one is told before it is used, as a new root is', async () => {
  const { kube, clock, open, leaf } = world();
  const authority = await open();
  const before = await leaf(authority);
  const elsewhere = world();
  await elsewhere.open();
  const { data } = await elsewhere.kube.get(resources.secrets, 'mesh-identity', 'mesh-system');
  const secret = await kube.get(resources.secrets, 'mesh-identity', 'mesh-system');
  kube.put(resources.secrets, { ...secret, data });
  await authority.refresh();
  const meanwhile = await leaf(authority);
  clock.time += 151_000;
  await authority.refresh();
  const after = await leaf(authority);
  expect(after[0]!.checkIssued(authority.issuer.certificate)).toBe(true);
  expect(meanwhile[0]!.verify(authority.issuer.certificate.publicKey)).toBe(false);
  for (const trusting of [authority, await open()])
    for (const chain of [before, meanwhile, after]) expect(chainsTo(chain, trusting.roots)).toBe(true);
  clock.time += 2 * day;
  await authority.refresh();
  expect(authority.roots).toHaveLength(1);
});

const root = make('Acme root');
const other = make('Other root');
test.each<[string, Made, string | undefined, Record<string, string>, string]>([
  ['no key', make('i', root), root.pem, { 'tls.key': '' }, 'has no tls.crt or no tls.key'],
  ['no certificate', make('i', root), root.pem, { 'tls.crt': encode('hello') }, 'tls.crt holds no PEM certificate'],
  ['another key', make('i', root), root.pem, { 'tls.key': encode(other.key) }, 'tls.key is not the key of tls.crt'],
  ['another curve', make('i', root, 1, 'secp384r1'), root.pem, {}, 'tls.key is not an ECDSA P-256 key'],
  ['another root', make('i', root), other.pem, {}, 'tls.crt does not chain to a root in ca.crt'],
  ['no root', make('i', root), undefined, {}, 'is not a root certificate'],
  ['an issuer that ended', make('i', root, -1), root.pem, {}, 'tls.crt ended on'],
])(
  '%s: refused with the reason at the start; a control plane that runs goes on',
  async (_what, made, ca, more, why) => {
    const { kube, open, leaf } = world();
    const running = await open();
    bring(kube, made, ca, more);
    await expect(open()).rejects.toThrow(`secret mesh-issuer`);
    await expect(open()).rejects.toThrow(why);
    expect(await running.refresh()).toBe(false);
    expect((await leaf(running))[0]!.issuer).toBe('CN=mesh issuer');
  },
);
