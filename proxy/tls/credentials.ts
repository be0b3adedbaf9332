/** The key and certificate this proxy shows, and the roots it trusts; replaced as a whole when one of them changes. */
import { constants, type KeyObject } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';

/** No tickets: a resumed session would outlive the certificate it was made with. */
export const tlsOptions = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET } as const;

export interface CertifiedKey {
  key: KeyObject;
  /** Leaf first, PEM. */
  chain: string;
  notBefore: Date;
  notAfter: Date;
}

export class Credentials {
  /** Grows with every change: connections of an older generation are not used for new requests. */
  generation = 0;
  certified: CertifiedKey | undefined;
  trustBundle: string;
  #context: SecureContext | undefined;
  readonly #listeners: (() => void)[] = [];

  constructor(trustBundle: string) {
    this.trustBundle = trustBundle;
  }

  /** TLS 1.3 only, both for dialling and for accepting; undefined before the first certificate. */
  get context(): SecureContext | undefined {
    return this.#context;
  }

  setCertified(certified: CertifiedKey): void {
    this.certified = certified;
    this.#changed();
  }

  setTrustBundle(pem: string): void {
    if (pem === this.trustBundle) return;
    this.trustBundle = pem;
    if (this.certified) this.#changed();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** What tls.Server.setSecureContext wants. */
  get pem(): { key: string; cert: string; ca: string } {
    if (!this.certified) throw new Error('no certificate yet');
    return {
      key: this.certified.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      cert: this.certified.chain,
      ca: this.trustBundle,
    };
  }

  #changed(): void {
    this.generation++;
    this.#context = createSecureContext({ ...this.pem, ...tlsOptions });
    for (const listener of this.#listeners) listener();
  }
}
