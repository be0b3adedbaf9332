/** The control plane's own certificate, for all its TLS listeners; renewed long before it ends. */
import { generateKeyPairSync } from 'node:crypto';
import { formatSpiffeId } from '../../protocol/identity.ts';
import { controlName, webhookName } from '../../protocol/names.ts';
import type { Config } from '../config.ts';
import { type Authority, ownLifetimeMs } from './authority.ts';
import { signLeaf } from './sign.ts';

export interface OwnCertificate {
  key: string;
  cert: string;
  notAfter: Date;
  /** When to make the next one: at 70 % of its life. */
  renewAt: Date;
}

/** A new key and certificate with the control plane's SPIFFE ID and its services' DNS names. */
export function makeOwnCertificate(authority: Authority, config: Config, now = Date.now()): OwnCertificate {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const { namespace, trustDomain } = config;
  const dns = [controlName, webhookName].flatMap((name) => [
    `${name}.${namespace}.svc`,
    `${name}.${namespace}.svc.cluster.local`,
  ]);
  const uris = [formatSpiffeId({ trustDomain, namespace, serviceAccount: controlName })];
  const signed = signLeaf(authority, pair.publicKey, { uris, dns }, ownLifetimeMs, now);
  return {
    key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: signed.chain,
    notAfter: signed.notAfter,
    renewAt: new Date(now + 0.7 * (signed.notAfter.getTime() - now)),
  };
}
