/**
 * Whether a client behind the proxy reads what the proxy passed on as the response that the proxy saw: never the end of
 * one response as the beginning of the next.
 */
import { Agent, request } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Address } from '../../protocol/discovery.ts';
import { Chain } from './chain.ts';
import { readResponse } from './read-response.ts';
import type { Finding, Verdict } from './requests.ts';
import { reportedStatus } from './servers/node.ts';
import type { ClientKind, FuzzClient } from './servers/server.ts';

const deadlineMs = 2_000;
/** How long an application that has said all it will leaves its connection open, where the client waits for more. */
const patienceMs = 80;
const sentinel = `HTTP/1.1 ${reportedStatus} Sentinel\r\nContent-Length: 8\r\n\r\nsentinel`;

/** The application: answers one path with what a case says, any other with the sentinel. */
class ScriptedOrigin {
  parts: readonly Buffer[] = [];
  ends = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {}); // resets are part of it
      socket.on('close', () => this.#sockets.delete(socket));
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const isCase = text.startsWith('/case ', text.indexOf(' ') + 1);
          text = text.slice(end + 4);
          if (isCase) void this.#answer(socket);
          else socket.write(sentinel);
        }
      });
    });
  }

  async listen(): Promise<Address> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}` as Address;
  }

  async #answer(socket: Socket): Promise<void> {
    for (const part of this.parts) {
      socket.write(part);
      if (this.parts.length > 1) await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.ends) socket.end();
    else setTimeout(() => socket.destroy(), patienceMs).unref();
  }

  /** So that no case hears of another. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    this.reset();
  }
}

interface Answer {
  /** 0 where none was read whole. */
  status: number;
  body: string;
}

export class ResponseTrial {
  readonly client: FuzzClient;
  readonly #chain: Chain;
  readonly #origin: ScriptedOrigin;
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  private constructor(client: FuzzClient, chain: Chain, origin: ScriptedOrigin) {
    this.client = client;
    this.#chain = chain;
    this.#origin = origin;
  }

  static async of(kind: ClientKind, folder: string): Promise<ResponseTrial> {
    const origin = new ScriptedOrigin();
    const chain = await Chain.to(await origin.listen());
    return new ResponseTrial(await kind.before(chain.port, folder), chain, origin);
  }

  close(): void {
    this.#agent.destroy();
    this.client.close();
    this.#chain.close();
    this.#origin.close();
  }

  /** `parts` are the application's response; `ends`: it ends its connection behind it. */
  async run(parts: readonly Buffer[], method: string, ends: boolean): Promise<Verdict> {
    this.#origin.parts = parts;
    this.#origin.ends = ends;
    this.#chain.begin();
    const first = await this.#ask(method, '/case');
    const second = await this.#ask('GET', '/sentinel');
    this.#agent.destroy();
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const { outbound, toClients } = await this.#chain.end(0);
    this.#origin.reset();
    const accepted = outbound[0]?.error === undefined;
    return { accepted, requests: outbound.length, finding: judge(method, first, second, toClients) };
  }

  /** An answer as the client behind the proxy understood it. */
  #ask(method: string, path: string): Promise<Answer> {
    const { port } = this.client;
    return new Promise((resolve) => {
      const none = (): void => resolve({ status: 0, body: '' });
      const asked = request({ port, host: '127.0.0.1', method, path, agent: this.#agent, headers: { host: 'web' } });
      asked.setTimeout(deadlineMs, () => asked.destroy());
      asked.on('error', none);
      asked.on('upgrade', (_response, socket) => {
        socket.destroy();
        none();
      });
      asked.on('response', (response) => {
        const body: Buffer[] = [];
        response.on('data', (chunk: Buffer) => body.push(chunk));
        response.on('error', none);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(body).toString('latin1') }),
        );
      });
      asked.end();
    });
  }
}

function judge(method: string, first: Answer, second: Answer, toClients: readonly string[]): Finding | undefined {
  const told = JSON.stringify({ first, second, toClients });
  if (second.status !== reportedStatus || second.body !== 'sentinel')
    return { kind: 'next response differs', detail: told };
  const passed = readResponse(toClients[0] ?? '', method);
  if (passed?.rest && !passed.rest.startsWith(`HTTP/1.1 ${reportedStatus} Sentinel\r\n`)) {
    return { kind: 'more than one response passed', detail: told };
  }
  if (passed && first.status === passed.status && first.body !== passed.body && first.status < 500) {
    return { kind: 'response differs', detail: told };
  }
  // A client that reads another status than was passed on is one that refused, and says so to its own client.
  const refused = first.status === 0 || first.status >= 500;
  return passed && first.status !== passed.status && !refused ? { kind: 'status differs', detail: told } : undefined;
}
