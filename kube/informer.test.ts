import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ListWatch } from './informer.ts';
import { resources } from './resources.ts';
import { Transport } from './transport.ts';
import type { KubeObject } from './types.ts';

interface Call {
  watch: boolean;
  from: string | null;
  request: IncomingMessage;
  response: ServerResponse;
}

const stop: (() => void)[] = [];
afterEach(() => {
  for (const one of stop.splice(0)) one();
});

const pod = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', resourceVersion, uid: name },
});

/** An API server in the hands of the test: each call waits until `next` takes it. */
class Api {
  readonly #calls: Call[] = [];
  readonly #takers: ((call: Call) => void)[] = [];
  readonly server: Server = createServer((request, response) => {
    const query = new URL(request.url!, 'http://api').searchParams;
    const call = { watch: query.has('watch'), from: query.get('resourceVersion'), request, response };
    const taker = this.#takers.shift();
    if (taker) taker(call);
    else this.#calls.push(call);
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    stop.push(() => {
      this.server.close();
      this.server.closeAllConnections();
    });
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  next(): Promise<Call> {
    const call = this.#calls.shift();
    return call ? Promise.resolve(call) : new Promise((resolve) => this.#takers.push(resolve));
  }

  async list(version: string, ...items: KubeObject[]): Promise<void> {
    const { watch, response } = await this.next();
    expect(watch).toBe(false);
    response.end(JSON.stringify({ items, metadata: { resourceVersion: version } }));
  }

  /** An open watch, and what it was asked to go on from. */
  async watch(): Promise<Call & { send: (type: string, object: object) => void }> {
    const call = await this.next();
    expect(call.watch).toBe(true);
    call.response.writeHead(200).flushHeaders();
    return { ...call, send: (type, object) => call.response.write(`${JSON.stringify({ type, object })}\n`) };
  }
}

async function start(idleMs?: number) {
  const api = new Api();
  const transport = new Transport({ server: await api.start(), headers: async () => ({}), timeoutMs: 5_000 });
  const troubles: string[] = [];
  const informer = new ListWatch(
    transport,
    resources.pods,
    {},
    (what, why) => troubles.push(`${what}: ${why}`),
    idleMs,
  );
  const events: string[] = [];
  const waiting = new Map<string, () => void>();
  informer.on(({ type, object }) => {
    const event = `${type} ${object.metadata.name}@${object.metadata.resourceVersion}`;
    events.push(event);
    waiting.get(event)?.();
  });
  stop.push(() => {
    informer.stop();
    transport.close();
  });
  const seen = (event: string) =>
    events.includes(event) ? Promise.resolve() : new Promise<void>((resolve) => waiting.set(event, resolve));
  return { api, events, seen, troubles };
}

describe('a live copy', () => {
  it('goes on from where it was when the API server is gone in the middle of a watch, and back', async () => {
    const { api, events, seen } = await start();
    await api.list('10', pod('a', '9'));
    const first = await api.watch();
    expect(first.from).toBe('10');
    first.send('ADDED', pod('b', '11'));
    await seen('ADDED b@11');
    first.request.socket.destroy();
    const second = await api.watch();
    expect(second.from).toBe('11');
    second.send('MODIFIED', pod('a', '12'));
    await seen('MODIFIED a@12');
    expect(events).toEqual(['ADDED a@9', 'ADDED b@11', 'MODIFIED a@12']);
  });

  it('lists page by page, watches from where the first page was, and drops what is in none of them', async () => {
    const { api, events, seen } = await start();
    await api.list('5', pod('gone', '4'));
    const first = await api.watch();
    first.send('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });
    const page = async (items: KubeObject[], metadata: object) => {
      const { request, response } = await api.next();
      response.end(JSON.stringify({ items, metadata }));
      return new URL(request.url!, 'http://api').searchParams;
    };
    const written = { ...pod('a', '9') };
    written.metadata = { ...written.metadata, managedFields: [{}] };
    expect((await page([written], { resourceVersion: '10', continue: 'more' })).get('continue')).toBeNull();
    const second = await page([pod('b', '9')], { resourceVersion: '10' });
    expect([second.get('continue'), second.get('limit')]).toEqual(['more', '100']);
    await seen('DELETED gone@4');
    expect(events).toEqual(['ADDED gone@4', 'ADDED a@9', 'ADDED b@9', 'DELETED gone@4']);
    expect((await api.watch()).from).toBe('10');
  });

  it('says why it does not get on, when that happens again', async () => {
    const { api, seen, troubles } = await start();
    for (let tries = 0; tries < 2; tries++) {
      const { response } = await api.next();
      const status = { kind: 'Status', reason: 'Forbidden', message: 'pods is forbidden', code: 403 };
      response.writeHead(403, { 'content-type': 'application/json' }).end(JSON.stringify(status));
    }
    await api.list('10', pod('a', '9'));
    await seen('ADDED a@9');
    expect(troubles).toEqual(['pods cannot be followed: pods is forbidden']);
    // A list is not enough: the watch is what was refused, perhaps.
    await api.watch();
    await vi.waitFor(() => expect(troubles.slice(1)).toEqual(['pods cannot be followed: undefined']));
  });

  it('goes on after a watch whose time is up', async () => {
    const { api, seen } = await start();
    await api.list('10');
    const first = await api.watch();
    first.send('BOOKMARK', pod('', '15'));
    first.response.end();
    const second = await api.watch();
    expect(second.from).toBe('15');
    second.send('ADDED', pod('a', '16'));
    await seen('ADDED a@16');
  });

  it.each(['as an event', 'as the answer'])('lists anew after 410 Gone (%s), and tells the difference', async (how) => {
    const { api, events, seen } = await start();
    await api.list('10', pod('a', '8'), pod('b', '9'));
    const gone = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    if (how === 'as an event') {
      const watch = await api.watch();
      watch.send('ERROR', gone);
      watch.response.end();
    } else (await api.next()).response.writeHead(410).end(JSON.stringify(gone));
    await api.list('30', pod('b', '25'), pod('c', '26'));
    await seen('DELETED a@8');
    expect(events).toEqual(['ADDED a@8', 'ADDED b@9', 'MODIFIED b@25', 'ADDED c@26', 'DELETED a@8']);
    expect((await api.watch()).from).toBe('30');
  });

  it('asks again when a watch has been silent for too long: its server may be gone without a word', async () => {
    const { api } = await start(200);
    await api.list('10');
    await api.watch();
    expect((await api.watch()).from).toBe('10');
  });

  it('asks again until the first list is there', async () => {
    const { api, seen } = await start();
    (await api.next()).request.socket.destroy();
    (await api.next()).response.writeHead(503).end();
    await api.list('10', pod('a', '9'));
    await seen('ADDED a@9');
  });
});
