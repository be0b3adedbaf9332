/** A certificate authority for tests. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { makeCertificate } from '../../protocol/x509.ts';
import { type CertifiedKey, Credentials } from './credentials.ts';

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

export class TestCa {
  readonly #issuer = { subject: 'test root', ...newKey() };
  readonly bundle: string;

  constructor() {
    const issuer = this.#issuer;
    this.bundle = makeCertificate({
      subject: issuer.subject,
      publicKey: issuer.publicKey,
      issuer,
      notBefore: new Date(Date.now() - 7_200_000),
      notAfter: new Date(Date.now() + 3_600_000),
      authority: { pathLength: 0 },
    });
  }

  /** Valid for `seconds` from now; already over where that is negative. For another's key where one is given. */
  certify(uri: string, seconds = 600, publicKey?: KeyObject): CertifiedKey {
    const key = newKey();
    const notBefore = new Date(Date.now() - 3_600_000);
    const notAfter = new Date(Date.now() + seconds * 1000);
    const chain = makeCertificate({
      subject: '',
      publicKey: publicKey ?? key.publicKey,
      issuer: this.#issuer,
      notBefore,
      notAfter,
      names: { uris: [uri] },
    });
    return { key: key.privateKey, chain, notBefore, notAfter };
  }

  credentials(uri: string, seconds = 600, trusted: TestCa = this): Credentials {
    const credentials = new Credentials(trusted.bundle);
    credentials.setCertified(this.certify(uri, seconds));
    return credentials;
  }
}
