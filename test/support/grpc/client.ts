/**
 * What the gRPC tests ask of a service, in grpc-js; client.py asks the same in Python. Arguments: `host:port`, and `stop`
 * to end the server during a call. Prints a line per case, `ok NAME` or `failed NAME: WHY`.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { methods } from './service.ts';

const [address = '', mode] = process.argv.slice(2);
const limits = { 'grpc.max_receive_message_length': 16 << 20 };
const dial = (options: grpc.ChannelOptions = {}) =>
  new grpc.Client(address, grpc.credentials.createInsecure(), { ...limits, ...options });
const client = dial();
const within = (seconds = 15) => ({ deadline: Date.now() + seconds * 1_000 });
const nothing = Buffer.alloc(0);

interface Answer {
  error: grpc.ServiceError | null;
  message: Buffer | undefined;
  head: grpc.Metadata;
  status: grpc.StatusObject;
}

/** Resolves when the call is over, well or not. */
function unary(
  name: keyof typeof methods,
  message: Buffer,
  { over = client, metadata = new grpc.Metadata(), seconds = 15, path = methods[name].path } = {},
): { call: grpc.ClientUnaryCall; answer: Promise<Answer> } {
  const { requestSerialize, responseDeserialize } = methods[name];
  let call!: grpc.ClientUnaryCall;
  const answer = new Promise<Answer>((resolve) => {
    let head = new grpc.Metadata();
    let status: grpc.StatusObject | undefined;
    let reply: { error: grpc.ServiceError | null; message: Buffer | undefined } | undefined;
    const settle = () => reply && status && resolve({ ...reply, head, status });
    call = over.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      message,
      metadata,
      within(seconds),
      (error, value) => {
        reply = { error, message: value };
        settle();
      },
    );
    call.on('metadata', (one) => {
      head = one;
    });
    call.on('status', (one) => {
      status = one;
      settle();
    });
  });
  return { call, answer };
}

const chat = (over = client) => {
  const { path, requestSerialize, responseDeserialize } = methods.Chat;
  return over.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, within(30));
};
const collect = (done: (error: grpc.ServiceError | null, message?: Buffer) => void) => {
  const { path, requestSerialize, responseDeserialize } = methods.Collect;
  return client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, within(), done);
};
const statusOf = (call: grpc.ClientDuplexStream<Buffer, Buffer> | grpc.ClientReadableStream<Buffer>) =>
  new Promise<grpc.StatusObject>((resolve) => call.on('status', resolve).on('error', () => {}));
async function repeat(count: number): Promise<number[]> {
  const { path, requestSerialize, responseDeserialize } = methods.Repeat;
  const call = client.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    Buffer.from(String(count)),
    within(),
  );
  const sizes: number[] = [];
  call.on('data', (message: Buffer) => sizes.push(message.length));
  assert.equal((await statusOf(call)).code, grpc.status.OK);
  return sizes;
}

async function pingPong(call: grpc.ClientDuplexStream<Buffer, Buffer>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const answer = once(call, 'data');
    call.write(Buffer.from(`ping ${i}`));
    const [message] = await answer;
    assert.equal(String(message), `ping ${i}`);
  }
}

/** The server hears of one more cancel. */
async function cancels(cancel: () => Promise<number>): Promise<void> {
  const count = async () => Number((await unary('Cancelled', nothing).answer).message);
  const before = await count();
  assert.equal(await cancel(), grpc.status.CANCELLED);
  for (let i = 0; (await count()) === before; i++) {
    assert.ok(i < 200, 'the server heard of no cancel');
    await wait(20);
  }
}

async function echoes(message: Buffer, name: 'Unary' | 'Compressed' = 'Unary', over = client): Promise<void> {
  const { error, message: back } = await unary(name, message, { over }).answer;
  assert.equal(error, null);
  assert.ok(back?.equals(message));
}

const large = Buffer.concat([randomBytes(700_000), Buffer.alloc(700_000, 'a')]);
const cases: Record<string, () => Promise<void>> = {
  'empty unary': () => echoes(nothing),
  'large unary': () => echoes(large),
  async 'compressed request'() {
    const gzip = dial({ 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip });
    await echoes(large, 'Unary', gzip);
    gzip.close();
  },
  'compressed response': () => echoes(large, 'Compressed'),
  async 'client streaming'() {
    const answer = new Promise<Buffer | undefined>((resolve, reject) => {
      const call = collect((error, message) => (error ? reject(error) : resolve(message)));
      for (let i = 0; i < 200; i++) call.write(Buffer.alloc(i * 10));
      call.end();
    });
    assert.equal(String(await answer), '200 199000');
  },
  async 'client streaming of nothing'() {
    const answer = new Promise<Buffer | undefined>((resolve, reject) => {
      collect((error, message) => (error ? reject(error) : resolve(message))).end();
    });
    assert.equal(String(await answer), '0 0');
  },
  async 'server streaming'() {
    assert.deepEqual(
      await repeat(500),
      Array.from({ length: 500 }, (_, i) => 7 * i),
    );
  },
  async 'server streaming of nothing'() {
    assert.deepEqual(await repeat(0), []);
  },
  async 'ping-pong'() {
    const call = chat();
    const status = statusOf(call);
    await pingPong(call, 200);
    call.end();
    assert.equal((await status).code, grpc.status.OK);
  },
  async 'both ways at once'() {
    const call = chat();
    const status = statusOf(call);
    let bytes = 0;
    call.on('data', (message: Buffer) => {
      bytes += message.length;
    });
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(65_536, i));
    call.end();
    assert.equal((await status).code, grpc.status.OK);
    assert.equal(bytes, 100 * 65_536);
  },
  'cancel after begin': () =>
    cancels(async () => {
      const { call, answer } = unary('Sleep', nothing);
      await wait(200);
      call.cancel();
      return (await answer).status.code;
    }),
  'cancel after the first response': () =>
    cancels(async () => {
      const call = chat();
      const status = statusOf(call);
      await pingPong(call, 1);
      call.cancel();
      return (await status).code;
    }),
  async 'deadline exceeded'() {
    const { status } = await unary('Sleep', nothing, { seconds: 0.3 }).answer;
    assert.equal(status.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async 'codes and messages'() {
    for (let code = 1; code <= 16; code++) {
      for (const text of ['plain', 'möglich: 100 % ✓\nund weiter', '']) {
        const { status } = await unary('Fail', Buffer.from(`${code} ${text}`)).answer;
        assert.deepEqual([status.code, status.details], [code, text]);
        assert.deepEqual(status.metadata.get('x-reason-bin'), [Buffer.from([0, 255, 10])]);
      }
    }
  },
  async 'unimplemented method'() {
    assert.equal((await unary('Absent', nothing).answer).status.code, grpc.status.UNIMPLEMENTED);
  },
  async 'unimplemented service'() {
    const { status } = await unary('Absent', nothing, { path: '/mesh.test.Nowhere/Absent' }).answer;
    assert.equal(status.code, grpc.status.UNIMPLEMENTED);
  },
  async metadata() {
    const metadata = new grpc.Metadata();
    for (const value of ['one', 'two, three']) metadata.add('x-echo', value);
    for (const value of ['\0\xff', 'zwei']) metadata.add('x-echo-bin', Buffer.from(value, 'latin1'));
    const { head, status } = await unary('Unary', nothing, { metadata }).answer;
    for (const end of [head, status.metadata]) {
      assert.equal(end.get('x-echo').join(', '), 'one, two, three');
      assert.deepEqual(end.get('x-echo-bin').map(String), metadata.get('x-echo-bin').map(String));
    }
  },
  async 'large metadata'() {
    const metadata = new grpc.Metadata();
    metadata.set('x-echo', 'm'.repeat(3_000));
    const { head } = await unary('Unary', nothing, { metadata }).answer;
    assert.equal(head.get('x-echo')[0]?.length, 3_000);
  },
  async 'a status ahead of the request’s end'() {
    const status = new Promise<grpc.ServiceError | null>((resolve) => {
      const call = collect(resolve);
      call.on('error', () => {});
      call.write(Buffer.from('refuse'));
      for (let i = 0; i < 200; i++) call.write(Buffer.alloc(10_000));
    });
    assert.equal((await status)?.code, grpc.status.PERMISSION_DENIED);
  },
  async 'more calls than streams'() {
    const all = await Promise.all(Array.from({ length: 400 }, (_, i) => unary('Unary', Buffer.from(String(i))).answer));
    assert.deepEqual(
      all.map(({ message }) => Number(message)),
      [...all.keys()],
    );
  },
  async 'keepalive pings'() {
    const pinging = dial({
      'grpc.keepalive_time_ms': 500,
      'grpc.keepalive_timeout_ms': 400,
      'grpc.keepalive_permit_without_calls': 1,
    });
    const call = chat(pinging);
    const status = statusOf(call);
    await pingPong(call, 1);
    await wait(2_000);
    await pingPong(call, 1);
    call.end();
    assert.equal((await status).code, grpc.status.OK);
    pinging.close();
  },
};

const stopping: Record<string, () => Promise<void>> = {
  async 'GOAWAY while streaming'() {
    const call = chat();
    const status = statusOf(call);
    await pingPong(call, 1);
    await unary('Stop', nothing).answer;
    for (let i = 0; i < 10; i++) {
      await wait(30);
      await pingPong(call, 1);
    }
    call.end();
    assert.equal((await status).code, grpc.status.OK);
    const answers = async () => (await unary('Unary', nothing).answer).status.code === grpc.status.OK;
    for (let i = 0; !(await answers()); i++) {
      assert.ok(i < 200, 'the server that comes after it is not found');
      await wait(50);
    }
  },
};

await Promise.all(
  Object.entries(mode === 'stop' ? stopping : cases).map(async ([name, run]) => {
    const end = await run().then(
      () => `ok ${name}`,
      (error: Error) => `failed ${name}: ${error.message}`,
    );
    process.stdout.write(`${end}\n`);
  }),
);
client.close();
