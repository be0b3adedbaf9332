/**
 * Certificates and requests (RFC 5280, RFC 2986) over ECDSA P-256: structures by ./der.ts; keys, signatures and
 * verification by node:crypto.
 */
import {
  createHash,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  type X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import * as der from './der.ts';

const ids = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  basicConstraints: '2.5.29.19',
  keyUsage: '2.5.29.15',
  extendedKeyUsage: '2.5.29.37',
  subjectAltName: '2.5.29.17',
  subjectKeyId: '2.5.29.14',
  authorityKeyId: '2.5.29.35',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
};
const signatureAlgorithm = der.sequence(der.oid(ids.ecdsaWithSha256));

export interface AlternativeNames {
  uris?: readonly string[];
  dns?: readonly string[];
  ips?: readonly string[];
}

/** Whose name and key sign. */
export interface Issuer {
  /** Common name, or the whole name in DER. */
  subject: string | Buffer;
  publicKey: KeyObject;
  privateKey: KeyObject;
  /** Subject key identifier of its certificate; of its public key where absent. */
  keyId?: Buffer;
}

export interface CertificatePlan {
  /** Common name; empty for a leaf named by its alternative names alone. */
  subject: string;
  publicKey: KeyObject;
  issuer: Issuer;
  notBefore: Date;
  notAfter: Date;
  /** A certificate authority; `pathLength` further ones may stand below it. */
  authority?: { pathLength: number };
  names?: AlternativeNames;
}

const name = (commonName: string | Buffer): Buffer =>
  typeof commonName !== 'string'
    ? commonName
    : commonName === ''
      ? der.sequence()
      : der.sequence(der.set(der.sequence(der.oid(ids.commonName), der.utf8(commonName))));

const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** SHA-1 of the public key's bits (RFC 5280 section 4.2.1.2, method 1): a name, not a protection. */
function keyId(key: KeyObject): Buffer {
  const point = der.children(der.readDer(spki(key)))[1]!.content.subarray(1);
  return createHash('sha1').update(point).digest();
}

function ipBytes(ip: string): Buffer {
  if (isIP(ip) === 4) return Buffer.from(ip.split('.').map(Number));
  const [head = '', tail = ''] = ip.split('::');
  const words = (text: string) => text.split(':').filter((word) => word !== '');
  const fill = ip.includes('::') ? 8 - words(head).length - words(tail).length : 0;
  const all = [...words(head), ...Array<string>(fill).fill('0'), ...words(tail)];
  return Buffer.concat(
    all.map((word) => Buffer.from([Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255])),
  );
}

function alternativeNames(names: AlternativeNames): Buffer {
  return der.sequence(
    ...(names.uris ?? []).map((uri) => der.context(6, Buffer.from(uri), false)),
    ...(names.dns ?? []).map((dns) => der.context(2, Buffer.from(dns), false)),
    ...(names.ips ?? []).map((ip) => der.context(7, ipBytes(ip), false)),
  );
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  der.sequence(der.oid(id), ...(critical ? [der.boolean(true)] : []), der.octets(value));

function pem(label: string, bytes: Buffer): string {
  return `-----BEGIN ${label}-----\n${bytes.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END ${label}-----\n`;
}

/** Every block of a label in a PEM text, as DER. */
export function pemBlocks(text: string, label: string): Buffer[] {
  const blocks = text.matchAll(new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`, 'g'));
  return [...blocks].map((block) => Buffer.from(block[1]!, 'base64'));
}

/** The issuer that a certificate and its key make, under exactly the names that certificate carries. */
export function issuerFrom(certificate: X509Certificate, privateKey: KeyObject): Issuer {
  const [body] = der.children(der.readDer(certificate.raw));
  const fields = der.children(body!);
  // version, serial number, signature, issuer, validity, subject, key …, extensions (RFC 5280 section 4.1)
  const subject = Buffer.from(fields[5]!.whole);
  const issuer: Issuer = { subject, publicKey: certificate.publicKey, privateKey };
  const extensions = fields.find(({ tag }) => tag === 0xa3);
  for (const entry of extensions ? der.children(der.children(extensions)[0]!) : []) {
    const [id, ...rest] = der.children(entry);
    if (id!.whole.equals(der.oid(ids.subjectKeyId)))
      issuer.keyId = Buffer.from(der.readDer(rest.at(-1)!.content).content);
  }
  return issuer;
}

/** The first certificate of a PEM text that was read as DER, as PEM again. */
export const certificatePem = (bytes: Buffer): string => pem('CERTIFICATE', bytes);

/** A signed certificate, PEM. */
export function makeCertificate(plan: CertificatePlan): string {
  const serial = randomBytes(16);
  serial[0]! &= 0x7f;
  serial[0]! |= 0x40;
  const usage = plan.authority ? der.bits(Buffer.from([0x06]), 1) : der.bits(Buffer.from([0x80]), 7);
  const constraints = plan.authority
    ? der.sequence(der.boolean(true), der.integer(Buffer.from([plan.authority.pathLength])))
    : der.sequence();
  const extensions = [
    extension(ids.basicConstraints, true, constraints),
    extension(ids.keyUsage, true, usage),
    ...(plan.authority
      ? []
      : [extension(ids.extendedKeyUsage, false, der.sequence(der.oid(ids.serverAuth), der.oid(ids.clientAuth)))]),
    ...(plan.names ? [extension(ids.subjectAltName, plan.subject === '', alternativeNames(plan.names))] : []),
    extension(ids.subjectKeyId, false, der.octets(keyId(plan.publicKey))),
    extension(
      ids.authorityKeyId,
      false,
      der.sequence(der.context(0, plan.issuer.keyId ?? keyId(plan.issuer.publicKey), false)),
    ),
  ];
  const body = der.sequence(
    der.context(0, der.integer(Buffer.from([2])), true),
    der.integer(serial),
    signatureAlgorithm,
    name(plan.issuer.subject),
    der.sequence(der.time(plan.notBefore), der.time(plan.notAfter)),
    name(plan.subject),
    spki(plan.publicKey),
    der.context(3, der.sequence(...extensions), true),
  );
  return pem(
    'CERTIFICATE',
    der.sequence(body, signatureAlgorithm, der.bits(sign('sha256', body, plan.issuer.privateKey))),
  );
}

/** A certificate request with an empty subject and one URI as its alternative name, PEM. */
export function makeRequest(key: { publicKey: KeyObject; privateKey: KeyObject }, uri: string): string {
  const requested = der.sequence(extension(ids.subjectAltName, true, alternativeNames({ uris: [uri] })));
  const body = der.sequence(
    der.integer(Buffer.from([0])),
    der.sequence(),
    spki(key.publicKey),
    der.context(0, der.sequence(der.oid(ids.extensionRequest), der.set(requested)), true),
  );
  return pem(
    'CERTIFICATE REQUEST',
    der.sequence(body, signatureAlgorithm, der.bits(sign('sha256', body, key.privateKey))),
  );
}

export interface ParsedRequest {
  publicKey: KeyObject;
  /** URI alternative names asked for. */
  uris: string[];
  /** Whether other alternative names were asked for. */
  otherNames: boolean;
}

/** Reads a request and verifies its signature; throws where either fails, or the key is not ECDSA P-256. */
export function parseRequest(text: string): ParsedRequest {
  const blocks = pemBlocks(text, 'CERTIFICATE REQUEST');
  if (blocks.length !== 1) throw new Error('not one PEM certificate request');
  const request = der.readDer(blocks[0]!);
  if (request.whole.length !== blocks[0]!.length) throw new Error('bytes after the request');
  const [body, algorithm, signature, ...more] = der.children(request);
  if (!body || !algorithm || !signature || more.length > 0 || request.tag !== 0x30 || body.tag !== 0x30)
    throw new Error('not a certificate request');
  if (signature.tag !== 0x03 || signature.content[0] !== 0) throw new Error('the signature is not whole bytes');
  if (!algorithm.whole.equals(signatureAlgorithm)) throw new Error('not signed with ECDSA and SHA-256');
  const [, , keyInfo, attributes] = der.children(body);
  if (!keyInfo) throw new Error('no public key');
  const publicKey = createPublicKey({ key: keyInfo.whole, format: 'der', type: 'spki' });
  if (publicKey.asymmetricKeyType !== 'ec' || publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('the key is not ECDSA P-256');
  }
  if (!verify('sha256', body.whole, publicKey, signature.content.subarray(1)))
    throw new Error("the signature is not the key's");
  const uris: string[] = [];
  let otherNames = false;
  for (const attribute of attributes ? der.children(attributes) : []) {
    const [id, values] = der.children(attribute);
    if (!id?.whole.equals(der.oid(ids.extensionRequest)) || !values) continue;
    for (const extensions of der.children(values)) {
      for (const entry of der.children(extensions)) {
        const parts = der.children(entry);
        if (!parts[0]?.whole.equals(der.oid(ids.subjectAltName))) continue;
        for (const alternative of der.children(der.readDer(parts.at(-1)!.content))) {
          if (alternative.tag === 0x86) uris.push(alternative.content.toString('utf8'));
          else otherNames = true;
        }
      }
    }
  }
  return { publicKey, uris, otherNames };
}
