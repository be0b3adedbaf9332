/** Gets this proxy's certificate and renews it, for as long as the process lives. */
import { generateKeyPair } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { promisify } from 'node:util';
import type { CertificateRefusal, CertificateResponse, SpiffeId } from '../../protocol/identity.ts';
import { makeRequest } from '../../protocol/x509.ts';
import type { Logger } from '../log.ts';
import { controlTimeouts } from './control-timeouts.ts';
import type { Credentials } from './credentials.ts';
import { dial } from './dial.ts';

const makeKey = promisify(generateKeyPair);
const firstRetryMs = 500;
const lastRetryMs = 30_000;
const maxResponseBytes = 1 << 20;

export interface IdentityOptions {
  identity: SpiffeId;
  trustDomain: string;
  controlIdentity: SpiffeId;
  host: string;
  port: number;
  tokenFile: string;
  credentials: Credentials;
  log: Logger;
  /** 0..1; Math.random but in tests. */
  random?: () => number;
}

export class IdentityClient {
  readonly #options: IdentityOptions;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failures = 0;
  #error: string | undefined;

  constructor(options: IdentityOptions) {
    this.#options = options;
  }

  /** Why the last try failed; undefined after one that did not. */
  get error(): string | undefined {
    return this.#error;
  }

  start(): void {
    void this.#renew();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #renew(): Promise<void> {
    const { credentials, log, random = Math.random } = this.#options;
    let wait: number;
    try {
      const response = await this.#certify();
      this.#failures = 0;
      this.#error = undefined;
      const notAfter = new Date(response.notAfter);
      // From now, not from notBefore: a backdated start would make renewals come too soon.
      wait = Math.max(1000, (notAfter.getTime() - Date.now()) * (0.65 + 0.1 * random()));
      log.info(`certificate until ${response.notAfter}, renewed in ${Math.round(wait / 1000)} s`);
    } catch (error) {
      this.#failures++;
      this.#error = (error as Error).message;
      wait = Math.min(firstRetryMs * 2 ** (this.#failures - 1), lastRetryMs) * (0.5 + random());
      const left = credentials.certified ? credentials.certified.notAfter.getTime() - Date.now() : 0;
      const state = !credentials.certified
        ? 'none yet'
        : left > 0
          ? `the present one is good for ${Math.round(left / 1000)} s more`
          : 'THE PRESENT ONE HAS EXPIRED';
      log.warn(
        `no certificate from ${this.#options.host}: ${(error as Error).message} (${state}); next try in ${Math.round(wait)} ms`,
      );
    }
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#renew(), wait);
  }

  async #certify(): Promise<CertificateResponse> {
    const { identity, credentials, tokenFile } = this.#options;
    const token = (await readFile(tokenFile, 'utf8')).trim();
    const key = await makeKey('ec', { namedCurve: 'prime256v1' });
    const response = await this.#post(JSON.stringify({ token, csr: makeRequest(key, identity) }));
    credentials.setTrustBundle(response.trustBundle);
    credentials.setCertified({
      key: key.privateKey,
      chain: response.chain,
      notBefore: new Date(response.notBefore),
      notAfter: new Date(response.notAfter),
    });
    return response;
  }

  #post(body: string): Promise<CertificateResponse> {
    const { host, port, credentials, trustDomain, controlIdentity } = this.#options;
    const timeouts = controlTimeouts(this.#failures);
    // It is as late with the answer as it was with the handshake, and asks Kubernetes for it.
    const answerTimeoutMs = 2 * timeouts.handshakeTimeoutMs;
    return new Promise((resolve, reject) => {
      dial(
        { host, port, credentials, trustDomain, identity: controlIdentity, alpn: 'http/1.1', ...timeouts },
        (error, socket) => {
          if (!socket) return reject(error);
          const request = http.request({
            createConnection: () => socket,
            method: 'POST',
            path: '/v1/certificates',
            headers: {
              host,
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(body),
              connection: 'close',
            },
            timeout: answerTimeoutMs,
          });
          request.on('timeout', () => request.destroy(new Error(`no answer within ${answerTimeoutMs / 1000} s`)));
          request.on('error', reject);
          request.on('response', (response) => {
            const chunks: Buffer[] = [];
            let size = 0;
            response.on('data', (chunk: Buffer) => {
              size += chunk.length;
              if (size > maxResponseBytes) request.destroy(new Error('the answer is too large'));
              else chunks.push(chunk);
            });
            response.on('error', reject);
            response.on('end', () => {
              const text = Buffer.concat(chunks).toString();
              try {
                const parsed = JSON.parse(text) as CertificateResponse | CertificateRefusal;
                if (response.statusCode === 200 && 'chain' in parsed) resolve(parsed);
                else
                  reject(
                    new Error('code' in parsed ? `${parsed.code}: ${parsed.message}` : `status ${response.statusCode}`),
                  );
              } catch (cause) {
                reject(new Error(`status ${response.statusCode}, and the answer is not JSON`, { cause }));
              }
            });
          });
          request.end(body);
        },
      );
    });
  }
}
