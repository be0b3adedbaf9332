/** Opens a TLS connection to a peer of the mesh and checks who it is. */
import { connect, type TLSSocket } from 'node:tls';
import type { SpiffeId } from '../../protocol/identity.ts';
import { ProxyError } from '../error.ts';
import type { Credentials } from './credentials.ts';
import { handshakeReason, type RefusalReason, verifyPeer } from './verify.ts';

export interface DialOptions {
  host: string;
  port: number;
  /** Roots and, for mutual TLS, this proxy's certificate. */
  credentials: Credentials;
  trustDomain: string;
  identity: SpiffeId;
  alpn: string;
  timeoutMs: number;
  /** For what follows, once there is a connection; without it, `timeoutMs` is for both. */
  handshakeTimeoutMs?: number;
  /** Told of a peer that answered and is not the one to speak to. */
  onRefused?(reason: RefusalReason, detail: string): void;
}

/** Calls back once, with a verified connection or the error; connect errors are safe to retry elsewhere. */
export function dial(
  options: DialOptions,
  callback: (error: ProxyError | undefined, socket: TLSSocket | undefined) => void,
): void {
  const { credentials } = options;
  const socket = connect({
    host: options.host,
    port: options.port,
    ...(credentials.context ? { secureContext: credentials.context } : { ca: credentials.trustBundle }),
    minVersion: 'TLSv1.3',
    ALPNProtocols: [options.alpn],
    // No SNI: the destination's address says whom we mean (HBONE); names are checked as SPIFFE IDs below.
    servername: '',
    // No host names in these certificates: whom we meant is checked below, by identity.
    checkServerIdentity: () => undefined,
    rejectUnauthorized: false,
  });
  socket.setNoDelay(true);
  let settled = false;
  const fail = (code: string, message: string, cause?: unknown) => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    socket.on('error', () => {}); // already reported; a late one must not end the process
    socket.destroy();
    callback(new ProxyError(code, message, { source: 'server', retry: 'yes', cause }), undefined);
  };
  const where = `${options.host}:${options.port}`;
  const { timeoutMs, handshakeTimeoutMs } = options;
  const failLate = (ms: number) => fail('connect-timeout', `${where} did not answer within ${ms} ms`);
  let timer = setTimeout(failLate, timeoutMs, timeoutMs);
  if (handshakeTimeoutMs !== undefined)
    socket.once('connect', () => {
      if (settled) return;
      clearTimeout(timer);
      timer = setTimeout(failLate, handshakeTimeoutMs, handshakeTimeoutMs);
    });
  const refuse = (reason: RefusalReason, detail: string) => {
    options.onRefused?.(reason, detail);
    fail('identity-refused', `${where} ${reason}: ${detail}`);
  };
  const onError = (error: NodeJS.ErrnoException) => {
    if (error.code?.startsWith('ERR_SSL_')) refuse(handshakeReason(error), error.message);
    else fail('connect-failed', `${where}: ${error.message}`, error);
  };
  const onClose = () => fail('connect-failed', `${where} closed during the handshake`);
  socket.once('error', onError).once('close', onClose);
  socket.once('secureConnect', () => {
    const verdict = verifyPeer(socket, options);
    if ('reason' in verdict) return refuse(verdict.reason, verdict.detail);
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    // Only our own: Node frees the TLS state in a close listener of its own.
    socket.removeListener('error', onError).removeListener('close', onClose);
    callback(undefined, socket);
  });
}
