/**
 * The certificate authority: a root that signs nothing but issuers, and an issuer that is replaced at half its life.
 * Both live in the Secret `mesh-identity`; replicas that start together agree on whichever was created first. An
 * issuer of the user's own (brought.ts) takes their place while it is there.
 *
 * Roots that are replaced stay trusted for as long as a certificate under them may live, and a new root is told to
 * everyone before anything is signed under it: no two proxies ever refuse each other over it.
 */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { identitySecret } from '../../protocol/names.ts';
import { issuerFrom, makeCertificate } from '../../protocol/x509.ts';
import type { Log } from '../log.ts';
import { findBrought, type Source } from './brought.ts';
import { certificatesOf, chainsTo, decode, encode, encodeKey, pemOf, type Signer, signerOf } from './signer.ts';

const rootLifetimeMs = 3650 * 86_400_000;
/** The control plane's own certificates live this long; a replaced root is trusted at least as long. */
export const ownLifetimeMs = 24 * 3_600_000;
/** Certificates begin a little in the past, for clocks that run behind. */
export const backdateMs = 60_000;
/** From telling a new root to signing under it: streams take seconds, files of ConfigMaps up to two minutes. */
const tellFirstMs = 150_000;

export interface AuthorityOptions {
  kube: KubeClient;
  namespace: string;
  issuerLifetimeMs: number;
  /** Of the certificates it signs. */
  certificateLifetimeMs: number;
  log: Log;
  now?: () => number;
}

interface Retired {
  pem: string;
  /** RFC 3339. */
  until: string;
}

const names = { root: 'mesh root', issuer: 'mesh issuer' };

export class Authority {
  readonly #options: AuthorityOptions;
  readonly #now: () => number;
  #secret: KubeObject | undefined;
  #ownRoot!: Signer;
  #own!: Source;
  /** Signs now. */
  #signing: Source | undefined;
  /** When a source under other roots was first seen. */
  #changeSeen: number | undefined;
  #roots: X509Certificate[] = [];
  #retired: readonly Retired[] = [];
  /** What was last said of a source that cannot be used. */
  #told = '';
  #refreshing: Promise<boolean> | undefined;

  private constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Reads the authority, or makes it where there is none. @throws Error where what is there cannot be used */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const authority = new Authority(options);
    await authority.refresh();
    return authority;
  }

  get issuer(): Signer {
    return this.#signing!.signer;
  }

  /** Every root to trust: those in use first. */
  get roots(): readonly X509Certificate[] {
    return this.#roots;
  }

  /** The same, PEM. */
  get trustBundle(): string {
    return pemOf(this.#roots);
  }

  get issuerIsTrusted(): boolean {
    return chainsTo(certificatesOf(this.issuer.pem, 'issuer'), this.#roots);
  }

  /**
   * Follows the Secrets, and replaces the own issuer where half its life is over. True where the issuer or the roots
   * are others than before. Safe to call at any time, by any replica.
   */
  refresh(): Promise<boolean> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<boolean> {
    const before = this.#signing && this.issuer.pem + this.trustBundle;
    await this.#load();
    await this.#rotate();
    const wanted = await this.#wanted();
    await this.#trust(wanted);
    this.#sign(wanted);
    return before !== this.issuer.pem + this.trustBundle;
  }

  /** The user's source where there is one. A bad one keeps the control plane from starting, but not from going on. */
  async #wanted(): Promise<Source> {
    const { kube, namespace, log } = this.#options;
    try {
      return (await findBrought(kube, namespace, this.#now())) ?? this.#own;
    } catch (error) {
      if (!this.#signing) throw error;
      const { message: reason } = error as Error;
      if (reason !== this.#told) log.error('the issuer brought cannot be used; the one in use stays', { reason });
      this.#told = reason;
      return this.#signing.brought ? this.#signing : this.#own;
    }
  }

  /** Takes a source into use; one under other roots only after everyone has been told of them. */
  #sign(wanted: Source): void {
    const { log } = this.#options;
    this.#signing ??= this.#startingSource(wanted);
    const current = this.#signing;
    if (current?.signer.pem === wanted.signer.pem) {
      this.#changeSeen = undefined;
      return;
    }
    const known = current && chainsTo(certificatesOf(wanted.signer.pem, 'issuer'), current.roots);
    if (current && !known && Date.parse(current.signer.certificate.validTo) > this.#now() + tellFirstMs) {
      if (this.#changeSeen === undefined) {
        this.#changeSeen = this.#now();
        log.info('new root: told to every proxy before it is used', { inSeconds: tellFirstMs / 1000 });
      }
      if (this.#now() < this.#changeSeen + tellFirstMs) return;
    }
    this.#changeSeen = undefined;
    this.#signing = wanted;
    const { certificate } = wanted.signer;
    log.info('issuer in use', { brought: wanted.brought, until: certificate.validTo });
  }

  /** A replica that starts in the middle of a change signs under the root before, where its key is still there. */
  #startingSource(wanted: Source): Source | undefined {
    const [root] = this.#own.roots;
    const retired = this.#retired.find(({ pem }) => fingerprints(pem).includes(root!.fingerprint256));
    if (!wanted.brought || !retired) return undefined;
    const seen = Date.parse(retired.until) - this.#retiredMs;
    if (this.#now() >= seen + tellFirstMs) return undefined;
    this.#changeSeen = seen;
    return this.#own;
  }

  /** How long a root is trusted after it was replaced: as long as a certificate under it may live. */
  get #retiredMs(): number {
    return Math.max(this.#options.certificateLifetimeMs, ownLifetimeMs) + tellFirstMs + backdateMs;
  }

  /** Trusts a source's roots, and for a while those that were trusted before it. */
  async #trust(wanted: Source): Promise<void> {
    const data = this.#secret?.data;
    const active = pemOf(wanted.roots);
    const current = new Set(wanted.roots.map((root) => root.fingerprint256));
    const retired: Retired[] = JSON.parse(decode(data?.['retired.json']) || '[]');
    const kept = retired.filter(
      ({ pem, until }) => Date.parse(until) > this.#now() && !fingerprints(pem).every((one) => current.has(one)),
    );
    const stored = decode(data?.['active.crt']);
    const before = [
      ...(stored === '' ? [] : certificatesOf(stored, `secret ${identitySecret}: active.crt`)),
      // The Secret may have become another one altogether.
      ...(this.#signing?.roots ?? []),
    ];
    const until = new Date(this.#now() + this.#retiredMs).toISOString();
    const known = new Set([...current, ...kept.flatMap(({ pem }) => fingerprints(pem))]);
    for (const root of before) {
      if (known.has(root.fingerprint256)) continue;
      known.add(root.fingerprint256);
      kept.push({ pem: pemOf([root]), until });
    }
    this.#retired = kept;
    this.#roots = [...wanted.roots, ...kept.flatMap(({ pem }) => certificatesOf(pem, 'retired root'))];
    if (stored === active && kept.length === retired.length) return;
    const changes = { 'active.crt': encode(active), 'retired.json': encode(JSON.stringify(kept)) };
    await this.#store(changes);
  }

  /** Replaces the own issuer at half its life. */
  async #rotate(): Promise<void> {
    const { certificate } = this.#own.signer;
    const from = Date.parse(certificate.validFrom);
    const to = Date.parse(certificate.validTo);
    if (this.#now() < from + (to - from) / 2) return;
    const next = this.#makeIssuer(this.#ownRoot);
    if (await this.#store({ 'issuer.crt': encode(next.pem), 'issuer.key': encodeKey(next.key) }))
      this.#options.log.info('issuer rotated', { until: next.certificate.validTo });
  }

  /** False where another replica was quicker: what it wrote is as good, and is read. */
  async #store(changes: Record<string, string>): Promise<boolean> {
    const secret = structuredClone(this.#secret!);
    secret.data = { ...secret.data, ...changes };
    try {
      this.#read(await this.#options.kube.replace(resources.secrets, secret));
      return true;
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 409) throw error;
      await this.#load();
      return false;
    }
  }

  async #load(): Promise<void> {
    const { kube, namespace } = this.#options;
    this.#read((await kube.find(resources.secrets, identitySecret, namespace)) ?? (await this.#create()));
  }

  async #create(): Promise<KubeObject> {
    const { kube, namespace, log } = this.#options;
    const known = this.#secret?.data;
    const metadata = { name: identitySecret, namespace };
    const data = known ?? this.#make();
    try {
      const secret = await kube.create(resources.secrets, {
        ...{ apiVersion: 'v1', kind: 'Secret', metadata, type: 'Opaque', data },
      });
      if (known) log.warn('the Secret of the identity was deleted; put it back', metadata);
      else log.info('made the root and the issuer', metadata);
      return secret;
    } catch (error) {
      if (!(error instanceof KubeError) || error.status !== 409) throw error;
      return kube.get(resources.secrets, identitySecret, namespace);
    }
  }

  #read(secret: KubeObject): void {
    const root = signerOf(secret, 'ca.crt', 'ca.key');
    const issuer = signerOf(secret, 'issuer.crt', 'issuer.key');
    if (!issuer.certificate.verify(root.certificate.publicKey))
      throw new Error(`secret ${identitySecret}: issuer.crt is not signed by ca.crt`);
    this.#secret = secret;
    this.#ownRoot = root;
    this.#own = { signer: issuer, roots: [root.certificate], brought: false };
  }

  #make(): Record<string, string> {
    const root = this.#makeRoot();
    const issuer = this.#makeIssuer(root);
    return {
      'ca.crt': encode(root.pem),
      'ca.key': encodeKey(root.key),
      'issuer.crt': encode(issuer.pem),
      'issuer.key': encodeKey(issuer.key),
    };
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
      issuer: issuerFrom(root.certificate, root.key),
      notBefore: new Date(this.#now() - backdateMs),
      notAfter: new Date(end),
      authority: { pathLength: 0 },
    });
    return { pem, certificate: new X509Certificate(pem), key: pair.privateKey };
  }
}

const fingerprints = (pem: string): string[] => certificatesOf(pem, 'retired root').map((root) => root.fingerprint256);
