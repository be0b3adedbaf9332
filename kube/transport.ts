/** HTTP to an API server: one keep-alive agent, JSON both ways, refusals as KubeError. */
import type { IncomingMessage } from 'node:http';
import http from 'node:http';
import https from 'node:https';
import { KubeError } from './client.ts';
import type { Json, KubeStatus } from './types.ts';

export interface Endpoint {
  /** `https://host:port`, with a path where the API is behind one. */
  server: string;
  ca?: string | Buffer;
  /** Client certificate and key, PEM. */
  cert?: string | Buffer;
  key?: string | Buffer;
  insecure?: boolean;
  serverName?: string;
  /** HTTP_PROXY, HTTPS_PROXY, NO_PROXY: the proxy between here and the server. */
  proxyEnv?: NodeJS.ProcessEnv;
  /** Headers of each call, e.g. Authorization; asked for each time since tokens are renewed. */
  headers(): Promise<Record<string, string | string[]>>;
  timeoutMs: number;
  /** Told of every request and its outcome; never of headers or bodies, which may hold secrets. */
  trace?(line: string): void;
}

export interface Call {
  method: string;
  /** Path and query. */
  path: string;
  body?: string;
  contentType?: string;
  signal?: AbortSignal;
  /** No time limit: the answer is a stream. */
  stream?: boolean;
}

const maxBytes = 256 << 20;
/** What a burst of calls leaves open: an idle TLS connection takes some 100 KB. */
const maxFreeSockets = 4;
/** API servers close an idle connection after 90 seconds: a call in that moment would fail. */
const maxIdleMs = 60_000;

export class Transport {
  readonly endpoint: Endpoint;
  readonly #agent: https.Agent | http.Agent;

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint;
    const { proxyEnv } = endpoint;
    const shared = {
      keepAlive: true,
      maxSockets: 64,
      maxFreeSockets,
      timeout: maxIdleMs,
      ...(proxyEnv ? { proxyEnv } : {}),
    };
    this.#agent = endpoint.server.startsWith('https:')
      ? new https.Agent({ ...shared, ...this.tls })
      : new http.Agent(shared);
  }

  /** For connections that are upgraded. */
  get agent(): https.Agent | http.Agent {
    return this.#agent;
  }

  get tls(): https.AgentOptions {
    const { ca, cert, key, insecure, serverName } = this.endpoint;
    return {
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(serverName ? { servername: serverName } : {}),
      rejectUnauthorized: !insecure,
    };
  }

  /** The open response of a call that was answered 2xx. @throws KubeError */
  async open(call: Call): Promise<IncomingMessage> {
    const { server, headers, timeoutMs } = this.endpoint;
    const given = await headers();
    const began = performance.now();
    const trace = (outcome: string | number | undefined): void =>
      this.endpoint.trace?.(`${call.method} ${call.path} ${outcome} in ${Math.round(performance.now() - began)} ms`);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const url = new URL(server.replace(/\/$/, '') + call.path);
      const request = (url.protocol === 'https:' ? https : http).request(url, {
        method: call.method,
        agent: this.#agent,
        headers: {
          ...given,
          accept: 'application/json',
          'user-agent': 'mesh',
          ...(call.body === undefined
            ? {}
            : {
                'content-type': call.contentType ?? 'application/json',
                'content-length': Buffer.byteLength(call.body),
              }),
        },
        ...(call.signal ? { signal: call.signal } : {}),
      });
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
      request.on('response', (answer) => {
        clearTimeout(timer);
        trace(answer.statusCode);
        resolve(answer);
      });
      request.on('error', (error) => {
        clearTimeout(timer);
        trace(error.message);
        reject(new KubeError(0, 'Unreachable', `${server} does not answer: ${explain(error)}`, error));
      });
      request.end(call.body);
    });
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const text = await readAll(response);
    let parsed: KubeStatus | undefined;
    try {
      parsed = JSON.parse(text) as KubeStatus;
    } catch {
      // Not every proxy in between answers in JSON: the status line has to do.
    }
    throw new KubeError(
      status,
      parsed?.reason ?? 'Unknown',
      parsed?.message ?? `status ${status}: ${text.slice(0, 200)}`,
    );
  }

  async json<T = Json>(call: Call): Promise<T> {
    const text = await readAll(await this.open(call));
    return JSON.parse(text) as T;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function explain(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'connection refused';
  if (error.code === 'ENOTFOUND') return 'its name cannot be resolved';
  return error.message || error.code || 'unknown error';
}

function readAll(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) response.destroy(new Error('the answer is too large'));
      else chunks.push(chunk);
    });
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      // A connection that is kept alive holds on to its last response, and with it to this list.
      chunks.length = 0;
      resolve(text);
    });
    response.on('error', (error) =>
      reject(new KubeError(0, 'Unreachable', `the answer was cut off: ${error.message}`, error)),
    );
  });
}
