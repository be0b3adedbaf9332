/** gRPC calls of grpc-js through two proxies, on loopback: all four kinds, and what can happen to them. */
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { formatAddress } from '../protocol/discovery.ts';
import { ips, mesh, meshed, publish, startMesh, stopMesh } from './test-mesh.ts';

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/shop.Echo/${path}`,
  requestStream,
  responseStream,
  requestSerialize: bytes.serialize,
  requestDeserialize: bytes.deserialize,
  responseSerialize: bytes.serialize,
  responseDeserialize: bytes.deserialize,
});
const service = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  repeat: method('Repeat', false, true),
  chat: method('Chat', true, true),
  fail: method('Fail', false, false),
  hang: method('Hang', false, false),
} satisfies grpc.ServiceDefinition;
const Client = grpc.makeClientConstructor(service, 'Echo');
type EchoClient = grpc.Client & Record<keyof typeof service, (...args: unknown[]) => unknown>;

const cancelled: string[] = [];
function implementation(ip: string): grpc.UntypedServiceImplementation {
  return {
    unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
      const head = new grpc.Metadata();
      head.set('x-pod', ip);
      for (const value of call.metadata.get('x-echo-bin')) head.add('x-echo-bin', value);
      call.sendMetadata(head);
      const trailer = new grpc.Metadata();
      trailer.set('x-trailer', 'last');
      callback(null, call.request, trailer);
    },
    collect(call: grpc.ServerReadableStream<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
      const parts: Buffer[] = [];
      call.on('data', (part: Buffer) => parts.push(part));
      call.on('end', () => callback(null, Buffer.concat(parts)));
    },
    repeat(call: grpc.ServerWritableStream<Buffer, Buffer>) {
      for (let i = 0; i < 100; i++) call.write(call.request);
      call.end();
    },
    chat(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => call.end());
    },
    fail(call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) {
      callback({ code: Number(String(call.request)), details: 'möglich: nein ' });
    },
    hang(call: grpc.ServerUnaryCall<Buffer, Buffer>) {
      call.on('cancelled', () => cancelled.push(ip));
    },
  };
}

const servers: grpc.Server[] = [];
const clients: grpc.Client[] = [];
let port = 0;

beforeAll(async () => {
  await startMesh();
  for (const ip of ips) {
    const server = new grpc.Server({ 'grpc.max_receive_message_length': 16 << 20 });
    server.addService(service, implementation(ip));
    port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(`${ip}:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    servers.push(server);
  }
  mesh.destination = formatAddress('10.96.2.1', 80);
  publish(
    mesh.destination,
    ips.map((ip) => meshed(ip, port)),
  );
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(() => {
  for (const server of servers) server.forceShutdown();
  stopMesh();
});

function dial(options: grpc.ClientOptions = {}): EchoClient {
  const address = `127.0.0.1:${mesh.client.ports.outbound}`;
  const client = new Client(address, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': 16 << 20,
    ...options,
  });
  clients.push(client);
  return client as unknown as EchoClient;
}

interface Outcome {
  error: grpc.ServiceError | null;
  value: Buffer | undefined;
  head: grpc.Metadata | undefined;
  status: grpc.StatusObject;
}

function unary(
  client: EchoClient,
  name: keyof typeof service,
  request: Buffer,
  metadata = new grpc.Metadata(),
  options: grpc.CallOptions = {},
): { call: grpc.ClientUnaryCall; outcome: Promise<Outcome> } {
  const outcome = { head: undefined } as unknown as Outcome;
  let call: grpc.ClientUnaryCall | undefined;
  const done = new Promise<Outcome>((resolve) => {
    call = client[name](request, metadata, options, (error: grpc.ServiceError | null, value: Buffer | undefined) => {
      outcome.error = error;
      outcome.value = value;
      setImmediate(() => resolve(outcome));
    }) as grpc.ClientUnaryCall;
    call.on('metadata', (head) => {
      outcome.head = head;
    });
    call.on('status', (status) => {
      outcome.status = status;
    });
  });
  return { call: call!, outcome: done };
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const totals = () =>
  [mesh.client, mesh.server].map(({ telemetry }) => {
    const sum = { requests: 0, failures: 0, statuses: new Array<number>(17).fill(0) };
    for (const one of telemetry.all) {
      sum.requests += one.requests;
      sum.failures += one.failures;
      one.grpcStatuses?.forEach((count, i) => {
        sum.statuses[i]! += count;
      });
    }
    return sum;
  });

test('unary calls of one channel reach all pods, with metadata and trailers both ways', async () => {
  const client = dial();
  const pods = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const metadata = new grpc.Metadata();
    metadata.add('x-echo-bin', Buffer.from([0, 255, i]));
    const { error, value, head, status } = await unary(client, 'unary', Buffer.from(`${i}`), metadata).outcome;
    expect(error).toBe(null);
    expect(String(value)).toBe(`${i}`);
    expect(head?.get('x-echo-bin')).toEqual([Buffer.from([0, 255, i])]);
    expect(status.metadata.get('x-trailer')).toEqual(['last']);
    pods.add(String(head?.get('x-pod')[0]));
  }
  expect([...pods].sort()).toEqual(ips);
});

test.each([0, 1, 100_000, 8 << 20])('a message of %d bytes comes back whole', async (size) => {
  const request = Buffer.alloc(size, 'm');
  const { error, value } = await unary(dial(), 'unary', request).outcome;
  expect(error).toBe(null);
  expect(value!.equals(request)).toBe(true);
});

test('compressed messages pass', async () => {
  const client = dial({ 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
  const request = Buffer.alloc(200_000, 'z');
  const { error, value } = await unary(client, 'unary', request).outcome;
  expect(error).toBe(null);
  expect(value!.equals(request)).toBe(true);
});

test('client streaming, server streaming, and both at once', async () => {
  const client = dial();
  const sum = await new Promise<Buffer>((resolve, reject) => {
    const call = client.collect((error: Error | null, value: Buffer) =>
      error ? reject(error) : resolve(value),
    ) as grpc.ClientWritableStream<Buffer>;
    for (let i = 0; i < 100; i++) call.write(Buffer.from(`${i},`));
    call.end();
  });
  expect(String(sum)).toBe(Array.from({ length: 100 }, (_, i) => `${i},`).join(''));
  const repeated = client.repeat(Buffer.alloc(10_000, 'r')) as AsyncIterable<Buffer>;
  expect((await collect(repeated)).map((part) => part.length)).toEqual(new Array(100).fill(10_000));
  const chat = client.chat() as grpc.ClientDuplexStream<Buffer, Buffer>;
  for (let i = 0; i < 20; i++) {
    const answer = new Promise((resolve) => chat.once('data', resolve));
    chat.write(Buffer.from(`turn ${i}`));
    expect(String(await answer)).toBe(`turn ${i}`);
  }
  chat.end();
  expect(await collect(chat)).toEqual([]);
});

test('statuses pass as they are; those that are the server’s fault count as failures at both ends', async () => {
  const client = dial();
  const before = totals();
  for (let code = 1; code <= 16; code++) {
    const { error } = await unary(client, 'fail', Buffer.from(`${code}`)).outcome;
    expect(error).toMatchObject({ code, details: 'möglich: nein ' });
  }
  await unary(client, 'unary', Buffer.from('fine')).outcome;
  const faults = [
    grpc.status.UNKNOWN,
    grpc.status.DEADLINE_EXCEEDED,
    grpc.status.PERMISSION_DENIED,
    grpc.status.INTERNAL,
    grpc.status.UNAVAILABLE,
    grpc.status.DATA_LOSS,
  ];
  const after = totals();
  for (const side of [0, 1]) {
    expect(after[side]!.requests - before[side]!.requests).toBe(17);
    expect(after[side]!.failures - before[side]!.failures).toBe(faults.length);
    expect(after[side]!.statuses.map((count, i) => count - before[side]!.statuses[i]!)).toEqual(new Array(17).fill(1));
  }
});

test('a deadline and a cancel end the call at the server', async () => {
  const client = dial();
  const late = await unary(client, 'hang', Buffer.alloc(0), new grpc.Metadata(), { deadline: Date.now() + 100 })
    .outcome;
  expect(late.error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
  await vi.waitFor(() => expect(cancelled.length).toBe(1), 8_000);
  const { call, outcome } = unary(client, 'hang', Buffer.alloc(0));
  setTimeout(() => call.cancel(), 50);
  expect((await outcome).error?.code).toBe(grpc.status.CANCELLED);
  await vi.waitFor(() => expect(cancelled.length).toBe(2), 8_000);
});

test('a service without endpoints is UNAVAILABLE, and says why', async () => {
  const { destination } = mesh;
  mesh.destination = formatAddress('10.96.2.2', 80);
  publish(mesh.destination, []);
  const { error, status } = await unary(dial(), 'unary', Buffer.alloc(0)).outcome;
  mesh.destination = destination;
  expect(error).toMatchObject({
    code: grpc.status.UNAVAILABLE,
    details:
      '503 Service Unavailable: the service has no ready endpoint (shop/web:80 has no ready endpoint) [mesh no-endpoints]',
  });
  expect(String(status.metadata.get('mesh-error'))).toMatch(/^no-endpoints; /);
});
