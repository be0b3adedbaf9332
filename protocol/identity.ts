/** A workload's identity, and the one request with which a proxy gets it certified. */

/** `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>` */
export type SpiffeId = string & { readonly brand: 'SpiffeId' };

/** Whether a text may be the trust domain of identities. */
export function isTrustDomain(text: string): boolean {
  return /^[a-z0-9._-]{1,255}$/.test(text);
}

export interface Identity {
  trustDomain: string;
  namespace: string;
  serviceAccount: string;
}

export function formatSpiffeId(identity: Identity): SpiffeId {
  return `spiffe://${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}` as SpiffeId;
}

/** The parts of a SPIFFE ID of the form above, or undefined for any other text. */
export function parseSpiffeId(id: string): Identity | undefined {
  const match = /^spiffe:\/\/([a-z0-9._-]+)\/ns\/([a-z0-9.-]+)\/sa\/([a-z0-9.-]+)$/.exec(id);
  if (!match) return undefined;
  return { trustDomain: match[1]!, namespace: match[2]!, serviceAccount: match[3]! };
}

/** Body of `POST /v1/certificates` on the identity port (TLS; the server shows the control plane's identity). */
export interface CertificateRequest {
  /** Projected service account token, audience `mesh`. */
  token: string;
  /** PKCS#10 request in PEM; empty subject, one URI SAN: the token's identity; ECDSA P-256. */
  csr: string;
}

/** Status 200; anything else carries `CertificateRefusal`. */
export interface CertificateResponse {
  /** Leaf first, then the issuer, PEM. */
  chain: string;
  /** Every root to trust, PEM. */
  trustBundle: string;
  /** RFC 3339. */
  notBefore: string;
  /** RFC 3339; never later than the issuer's own. */
  notAfter: string;
}

/** Status 400 (malformed), 401 (token refused), 403 (identity not the token's), 503 (try again). */
export interface CertificateRefusal {
  /** Stable, e.g. `token-expired`, `identity-mismatch`. */
  code: string;
  message: string;
}
