import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { makeCertificate, makeRequest, parseRequest } from './x509.ts';

const pair = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const id = 'spiffe://cluster.local/ns/shop/sa/web';
const from = new Date('2026-01-01T00:00:00Z');
const to = new Date('2055-01-01T00:00:00Z');

function root() {
  const key = pair();
  const issuer = { subject: 'root', ...key };
  return {
    key,
    issuer,
    pem: makeCertificate({
      subject: 'root',
      publicKey: key.publicKey,
      issuer,
      notBefore: from,
      notAfter: to,
      authority: { pathLength: 1 },
    }),
  };
}

test('a certificate reads back as it was asked for, and verifies under its issuer', () => {
  const { issuer, pem } = root();
  const leaf = pair();
  const certificate = new X509Certificate(
    makeCertificate({
      subject: '',
      publicKey: leaf.publicKey,
      issuer,
      notBefore: from,
      notAfter: to,
      names: { uris: [id], dns: ['a.b'], ips: ['10.0.0.1', 'fd00::1:2'] },
    }),
  );
  const authority = new X509Certificate(pem);
  expect(certificate.verify(authority.publicKey)).toBe(true);
  expect(certificate.checkIssued(authority)).toBe(true);
  expect(certificate.ca).toBe(false);
  expect(authority.ca).toBe(true);
  expect(certificate.subjectAltName).toBe(`URI:${id}, DNS:a.b, IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:1:2`);
  expect(new Date(certificate.validTo).getTime()).toBe(to.getTime());
  expect(certificate.publicKey.equals(leaf.publicKey)).toBe(true);
});

test('a request carries its one URI and proves its key', () => {
  const key = pair();
  const parsed = parseRequest(makeRequest(key, id));
  expect(parsed.uris).toEqual([id]);
  expect(parsed.otherNames).toBe(false);
  expect(parsed.publicKey.equals(key.publicKey)).toBe(true);
});

test('a request changed after signing is refused', () => {
  const text = makeRequest(pair(), id);
  const bytes = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
  const at = bytes.indexOf('web');
  bytes.write('adm', at);
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  expect(() => parseRequest(forged)).toThrow('signature');
});

test('an RSA key is refused', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  expect(() => parseRequest(makeRequest(rsa, id))).toThrow();
});
