/** Who is at the other end of a TLS connection; each way to fail has a reason of its own. */
import type { TLSSocket } from 'node:tls';
import { parseSpiffeId, type SpiffeId } from '../../protocol/identity.ts';

/** Every reason and what it says; docs/errors-proxy.md tells what to do. */
export const refusalReasons = {
  'handshake-failed': 'the TLS handshake failed',
  'tls-version': 'the peer does not speak TLS 1.3',
  'wrong-alpn': 'the peer does not agree on HTTP/2',
  'no-certificate': 'the peer showed no certificate',
  'certificate-expired': "the peer's certificate is not valid now",
  'unknown-issuer': "the peer's certificate does not lead to a trusted root",
  'no-identity': "the peer's certificate names no SPIFFE identity",
  'wrong-trust-domain': 'the peer is of another trust domain',
  'identity-mismatch': 'the peer is not the one that was dialled',
} as const;

export type RefusalReason = keyof typeof refusalReasons;

export type Verdict = { identity: SpiffeId } | { reason: RefusalReason; detail: string };

export interface Expectation {
  trustDomain: string;
  /** The one identity to accept; any of the trust domain where absent. */
  identity?: SpiffeId;
  /** What both sides must have agreed to speak. */
  alpn: string;
}

/** Why a handshake broke off, by OpenSSL's code. */
export function handshakeReason(error: NodeJS.ErrnoException): RefusalReason {
  if (/UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION/.test(error.code ?? '')) return 'tls-version';
  return /NO_APPLICATION_PROTOCOL/.test(error.code ?? '') ? 'wrong-alpn' : 'handshake-failed';
}

/**
 * Judges a connection whose handshake is over. TLS itself was told to go on without a verified peer, so that this
 * is the one place that decides and can say why; nothing is read from the connection before.
 */
export function verifyPeer(socket: TLSSocket, expected: Expectation): Verdict {
  const certificate = socket.getPeerX509Certificate();
  if (!certificate) return { reason: 'no-certificate', detail: refusalReasons['no-certificate'] };
  // A resumed session would outlive the certificate it was made with.
  if (socket.isSessionReused()) {
    return { reason: 'no-certificate', detail: 'the peer resumed a session instead of showing its certificate' };
  }
  if (!socket.authorized) {
    const code = String(socket.authorizationError);
    if (/EXPIRED|NOT_YET_VALID/.test(code)) {
      return {
        reason: 'certificate-expired',
        detail: `the peer's certificate is valid from ${certificate.validFrom} to ${certificate.validTo}`,
      };
    }
    return { reason: 'unknown-issuer', detail: `${refusalReasons['unknown-issuer']} (${code})` };
  }
  const uris = (certificate.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  const id = uris.length === 1 ? uris[0]!.slice(4) : '';
  const identity = parseSpiffeId(id);
  if (!identity) return { reason: 'no-identity', detail: refusalReasons['no-identity'] };
  if (identity.trustDomain !== expected.trustDomain) {
    return { reason: 'wrong-trust-domain', detail: `the peer is ${id}, not of trust domain ${expected.trustDomain}` };
  }
  if (expected.identity && id !== expected.identity) {
    return { reason: 'identity-mismatch', detail: `the peer is ${id}, not ${expected.identity}` };
  }
  if (socket.alpnProtocol !== expected.alpn) {
    return {
      reason: 'wrong-alpn',
      detail: `the peer speaks ${socket.alpnProtocol || 'no protocol'}, not ${expected.alpn}`,
    };
  }
  return { identity: id as SpiffeId };
}
