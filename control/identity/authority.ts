/**
 * The certificate authority: a root that signs nothing but issuers, and an issuer that is replaced at half its life.
 * Both live in the Secret `mesh-identity`; replicas that start together agree on whichever was created first.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { identitySecret } from '../../protocol/names.ts';
import { makeCertificate } from '../../protocol/x509.ts';
import type { Log } from '../log.ts';

const rootLifetimeMs = 3650 * 86_400_000;
/** Certificates begin a little in the past, for clocks that run behind. */
export const backdateMs = 60_000;

export interface Signer {
  certificate: X509Certificate;
  pem: string;
  key: KeyObject;
}

export interface AuthorityOptions {
  kube: KubeClient;
  namespace: string;
  issuerLifetimeMs: number;
  log: Log;
  now?: () => number;
}

const names = { root: 'mesh root', issuer: 'mesh issuer' };

export class Authority {
  readonly #options: AuthorityOptions;
  readonly #now: () => number;
  #root!: Signer;
  #issuer!: Signer;
  #secret!: KubeObject;

  private constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Reads the authority, or makes it where there is none. */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const authority = new Authority(options);
    await authority.#load();
    await authority.rotate();
    return authority;
  }

  get root(): Signer {
    return this.#root;
  }

  get issuer(): Signer {
    return this.#issuer;
  }

  /** Every root to trust, PEM. */
  get trustBundle(): string {
    return this.#root.pem;
  }

  /** Replaces the issuer where half its life is over; true where it did. Safe to call at any time, by any replica. */
  async rotate(): Promise<boolean> {
    const from = Date.parse(this.#issuer.certificate.validFrom);
    const to = Date.parse(this.#issuer.certificate.validTo);
    if (this.#now() < from + (to - from) / 2) return false;
    const { kube, log } = this.#options;
    const next = this.#makeIssuer(this.#root);
    const secret = structuredClone(this.#secret);
    secret.data = { ...secret.data, 'issuer.crt': encode(next.pem), 'issuer.key': encodeKey(next.key) };
    try {
      this.#read(await kube.replace(resources.secrets, secret));
      log.info('issuer rotated', { until: next.certificate.validTo });
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 409) throw error;
      await this.#load(); // another replica was quicker: its issuer is as good
    }
    return true;
  }

  async #load(): Promise<void> {
    const { kube, namespace, log } = this.#options;
    let secret = await kube.find(resources.secrets, identitySecret, namespace);
    if (!secret) {
      const root = this.#makeRoot();
      const issuer = this.#makeIssuer(root);
      try {
        secret = await kube.create(resources.secrets, {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { name: identitySecret, namespace },
          type: 'Opaque',
          data: {
            'ca.crt': encode(root.pem),
            'ca.key': encodeKey(root.key),
            'issuer.crt': encode(issuer.pem),
            'issuer.key': encodeKey(issuer.key),
          },
        });
        log.info('made the root and the issuer', {
          rootUntil: root.certificate.validTo,
          issuerUntil: issuer.certificate.validTo,
        });
      } catch (error) {
        if (!(error instanceof KubeError) || error.status !== 409) throw error;
        secret = await kube.get(resources.secrets, identitySecret, namespace);
      }
    }
    this.#read(secret);
  }

  #read(secret: KubeObject): void {
    const signer = (name: string): Signer => {
      const pem = decode(secret.data?.[`${name}.crt`]);
      const key = decode(secret.data?.[`${name}.key`]);
      if (!pem || !key) throw new Error(`secret ${identitySecret} has no ${name}.crt or ${name}.key`);
      const found = { pem, certificate: new X509Certificate(pem), key: createPrivateKey(key) };
      if (!found.certificate.checkPrivateKey(found.key))
        throw new Error(`secret ${identitySecret}: ${name}.key is not the key of ${name}.crt`);
      return found;
    };
    const root = signer('ca');
    const issuer = signer('issuer');
    if (!issuer.certificate.verify(root.certificate.publicKey))
      throw new Error(`secret ${identitySecret}: issuer.crt is not signed by ca.crt`);
    this.#secret = secret;
    this.#root = root;
    this.#issuer = issuer;
  }

  #makeRoot(): Signer {
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const pem = makeCertificate({
      subject: names.root,
      publicKey: pair.publicKey,
      issuer: { subject: names.root, ...pair },
      notBefore: new Date(this.#now() - backdateMs),
      notAfter: new Date(this.#now() + rootLifetimeMs),
      authority: { pathLength: 1 },
    });
    return { pem, certificate: new X509Certificate(pem), key: pair.privateKey };
  }

  #makeIssuer(root: Signer): Signer {
    const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const end = Math.min(this.#now() + this.#options.issuerLifetimeMs, Date.parse(root.certificate.validTo));
    const pem = makeCertificate({
      subject: names.issuer,
      publicKey: pair.publicKey,
      issuer: { subject: names.root, publicKey: createPublicKey(root.key), privateKey: root.key },
      notBefore: new Date(this.#now() - backdateMs),
      notAfter: new Date(end),
      authority: { pathLength: 0 },
    });
    return { pem, certificate: new X509Certificate(pem), key: pair.privateKey };
  }
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
const encodeKey = (key: KeyObject): string => encode(key.export({ type: 'pkcs8', format: 'pem' }).toString());
const decode = (text: string | undefined): string => Buffer.from(text ?? '', 'base64').toString();
