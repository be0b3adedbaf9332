/** Certificates with their keys, as Secrets hold them. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { KubeObject } from '../../kube/types.ts';
import { certificatePem, pemBlocks } from '../../protocol/x509.ts';

export interface Signer {
  certificate: X509Certificate;
  /** The certificate, and those between it and a root, PEM. */
  pem: string;
  key: KeyObject;
}

export const encode = (text: string): string => Buffer.from(text).toString('base64');
export const encodeKey = (key: KeyObject): string => encode(key.export({ type: 'pkcs8', format: 'pem' }).toString());
export const decode = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString();

/** Every certificate of a PEM text. @throws Error where it holds none, or none that can be read */
export function certificatesOf(pem: string, what: string): X509Certificate[] {
  const blocks = pemBlocks(pem, 'CERTIFICATE');
  if (blocks.length === 0) throw new Error(`${what} holds no PEM certificate`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new Error(`${what} holds a certificate that cannot be read: ${(error as Error).message}`);
  }
}

/** Certificates as one PEM text, whatever stood around them; the same certificates, the same text. */
export const pemOf = (certificates: readonly X509Certificate[]): string =>
  certificates.map((one) => certificatePem(one.raw)).join('');

/** Certificate authority and key under two names of a Secret. @throws Error naming what is wrong with it */
export function signerOf(secret: KubeObject, certificateName: string, keyName: string): Signer {
  const place = `secret ${secret.metadata.name}`;
  const pem = decode(secret.data?.[certificateName]);
  const keyPem = decode(secret.data?.[keyName]);
  if (!pem || !keyPem) throw new Error(`${place} has no ${certificateName} or no ${keyName}`);
  const chain = certificatesOf(pem, `${place}: ${certificateName}`);
  const certificate = chain[0]!;
  let key: KeyObject;
  try {
    key = createPrivateKey(keyPem);
  } catch {
    throw new Error(`${place}: ${keyName} is not a private key in PEM`);
  }
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new Error(`${place}: ${keyName} is not an ECDSA P-256 key`);
  if (!certificate.checkPrivateKey(key)) throw new Error(`${place}: ${keyName} is not the key of ${certificateName}`);
  if (!certificate.ca) throw new Error(`${place}: ${certificateName} is not a certificate authority`);
  return { certificate, pem: pemOf(chain), key };
}

/** Whether a chain, leaf first, ends at one of the roots. */
export function chainsTo(chain: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  return chain.every((one, index) => {
    const above = chain[index + 1];
    return above
      ? one.verify(above.publicKey)
      : roots.some((root) => one.fingerprint256 === root.fingerprint256 || one.verify(root.publicKey));
  });
}
