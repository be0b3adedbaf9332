/**
 * From a token and a request to a certificate, in fixed steps: token reviewed, request's signature verified, its one
 * name compared with the token's, then everything else decided here: the request can ask for nothing more.
 */
import type { KeyObject } from 'node:crypto';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { type CertificateResponse, formatSpiffeId, type SpiffeId } from '../../protocol/identity.ts';
import { tokenAudience } from '../../protocol/names.ts';
import { type AlternativeNames, issuerFrom, makeCertificate, parseRequest } from '../../protocol/x509.ts';
import { type Authority, backdateMs } from './authority.ts';

export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
  }
}

export interface SigningOptions {
  kube: KubeClient;
  authority: Authority;
  trustDomain: string;
  lifetimeMs: number;
  now?: () => number;
}

/** The service account a token proves. @throws Refusal */
async function reviewToken(kube: KubeClient, token: string): Promise<{ namespace: string; serviceAccount: string }> {
  let status: { authenticated?: boolean; error?: string; user?: { username?: string }; audiences?: string[] };
  try {
    const review = await kube.create<KubeObject>(resources.tokenReviews, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      metadata: {},
      spec: { token, audiences: [tokenAudience] },
    });
    status = review.status ?? {};
  } catch (error) {
    throw new Refusal(
      503,
      'token-review-unavailable',
      `the API server cannot review tokens now: ${(error as Error).message}`,
    );
  }
  if (!status.authenticated) throw new Refusal(401, 'token-refused', status.error ?? 'the token is not valid');
  if (!status.audiences?.includes(tokenAudience))
    throw new Refusal(401, 'token-audience', `the token is not for the audience ${tokenAudience}`);
  const match = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '');
  if (!match) throw new Refusal(403, 'not-a-service-account', `${status.user?.username} is no service account`);
  return { namespace: match[1]!, serviceAccount: match[2]! };
}

/** Signs a key for names under the issuer, never beyond the issuer's own end. PEM chain, leaf first. */
export function signLeaf(
  authority: Authority,
  publicKey: KeyObject,
  names: AlternativeNames,
  lifetimeMs: number,
  now: number,
): { chain: string; notBefore: Date; notAfter: Date } {
  const { issuer } = authority;
  const notBefore = new Date(Math.max(now - backdateMs, Date.parse(issuer.certificate.validFrom)));
  const notAfter = new Date(Math.min(now + lifetimeMs, Date.parse(issuer.certificate.validTo)));
  const leaf = makeCertificate({
    subject: '',
    publicKey,
    issuer: issuerFrom(issuer.certificate, issuer.key),
    notBefore,
    notAfter,
    names,
  });
  return { chain: leaf + issuer.pem, notBefore, notAfter };
}

/** @throws Refusal with the reason */
export async function certify(
  options: SigningOptions,
  token: string,
  csr: string,
): Promise<CertificateResponse & { identity: SpiffeId }> {
  const { kube, authority, trustDomain, lifetimeMs, now = Date.now } = options;
  const account = await reviewToken(kube, token);
  let request: ReturnType<typeof parseRequest>;
  try {
    request = parseRequest(csr);
  } catch (error) {
    throw new Refusal(400, 'bad-request', `the certificate request is not usable: ${(error as Error).message}`);
  }
  const identity = formatSpiffeId({ trustDomain, ...account });
  if (request.uris.length !== 1 || request.otherNames)
    throw new Refusal(403, 'one-name', 'a request must name exactly one URI and nothing else');
  if (request.uris[0] !== identity)
    throw new Refusal(403, 'identity-mismatch', `the request is for ${request.uris[0]}, the token for ${identity}`);
  const signed = signLeaf(authority, request.publicKey, { uris: [identity] }, lifetimeMs, now());
  return {
    identity,
    chain: signed.chain,
    trustBundle: authority.trustBundle,
    notBefore: signed.notBefore.toISOString(),
    notAfter: signed.notAfter.toISOString(),
  };
}
