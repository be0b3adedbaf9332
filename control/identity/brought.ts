/** An issuer of the user's own: Secret `mesh-issuer`, in the shape that cert-manager writes. */
import type { X509Certificate } from 'node:crypto';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import { issuerSecret } from '../../protocol/names.ts';
import { certificatesOf, chainsTo, decode, type Signer, signerOf } from './signer.ts';

export interface Source {
  signer: Signer;
  roots: X509Certificate[];
  /** By the user; else made here. */
  brought: boolean;
}

/** Undefined where there is no such Secret. @throws Error naming what is wrong with it */
export async function findBrought(kube: KubeClient, namespace: string, now: number): Promise<Source | undefined> {
  const secret = await kube.find(resources.secrets, issuerSecret, namespace);
  if (!secret) return undefined;
  const signer = signerOf(secret, 'tls.crt', 'tls.key');
  const chain = certificatesOf(signer.pem, `secret ${issuerSecret}: tls.crt`);
  const written = decode(secret.data?.['ca.crt']);
  // A root that signs by itself needs no ca.crt beside it.
  const roots = written ? certificatesOf(written, `secret ${issuerSecret}: ca.crt`) : chain.slice(-1);
  if (!roots.every((root) => root.verify(root.publicKey)))
    throw new Error(`secret ${issuerSecret}: ca.crt (or, without it, the last of tls.crt) is not a root certificate`);
  if (!chainsTo(chain, roots)) throw new Error(`secret ${issuerSecret}: tls.crt does not chain to a root in ca.crt`);
  if (Date.parse(signer.certificate.validTo) <= now)
    throw new Error(`secret ${issuerSecret}: tls.crt ended on ${signer.certificate.validTo}`);
  return { signer, roots, brought: true };
}
