/** `POST /v1/certificates`: where proxies get their certificates. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { CertificateRefusal, CertificateRequest } from '../../protocol/identity.ts';
import type { Log } from '../log.ts';
import { readBody, TooLarge } from '../read-body.ts';
import type { OwnCertificate } from './own-certificate.ts';
import { certify, Refusal, type SigningOptions } from './sign.ts';

const maxBodyBytes = 64 << 10;
const maxAtOnce = 256;

export class IdentityServer {
  readonly server: https.Server;
  readonly #options: SigningOptions & { log: Log };
  #busy = 0;
  issued = 0;
  refused = 0;

  constructor(options: SigningOptions & { log: Log }, own: OwnCertificate) {
    this.#options = options;
    this.server = https.createServer(
      { key: own.key, cert: own.cert, minVersion: 'TLSv1.3' },
      (request, response) => void this.#serve(request, response),
    );
    this.server.requestTimeout = 15_000;
    this.server.headersTimeout = 10_000;
  }

  renew(own: OwnCertificate): void {
    this.server.setSecureContext({ key: own.key, cert: own.cert, minVersion: 'TLSv1.3' });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { log } = this.#options;
    const from = request.socket.remoteAddress;
    this.#busy++;
    try {
      if (request.method !== 'POST' || request.url !== '/v1/certificates')
        throw new Refusal(404, 'not-found', 'there is only POST /v1/certificates');
      if (this.#busy > maxAtOnce) throw new Refusal(503, 'overloaded', 'too many requests at once; try again');
      const { token, csr } = parse(await readBody(request, maxBodyBytes));
      const { identity, ...answer } = await certify(this.#options, token, csr);
      this.issued++;
      log.info('certificate issued', { identity, from, until: answer.notAfter });
      send(response, 200, answer);
    } catch (error) {
      const refusal =
        error instanceof Refusal
          ? error
          : error instanceof TooLarge
            ? new Refusal(413, 'too-large', error.message)
            : new Refusal(500, 'internal', 'the control plane failed; its log says why');
      this.refused++;
      log.warn('certificate refused', { code: refusal.code, reason: (error as Error).message, from });
      const body: CertificateRefusal = { code: refusal.code, message: refusal.message };
      if (!response.headersSent) send(response, refusal.status, body);
    } finally {
      this.#busy--;
    }
  }
}

function parse(body: string): CertificateRequest {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new Refusal(400, 'bad-request', 'the body is not JSON');
  }
  const { token, csr } = (value ?? {}) as Partial<CertificateRequest>;
  if (typeof token !== 'string' || typeof csr !== 'string')
    throw new Refusal(400, 'bad-request', 'the body needs the texts token and csr');
  return { token, csr };
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
