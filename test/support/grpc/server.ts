/** The service of the gRPC tests, in grpc-js; server.py is the same in Python. Argument: the port. */
import * as grpc from '@grpc/grpc-js';
import { methods } from './service.ts';

const counts = { cancelled: 0 };
let server: grpc.Server;

type Unary = (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => void;

/** Echoes the message, and what metadata ask for at either end. */
const unary: Unary = (call, callback) => {
  const ends = [new grpc.Metadata(), new grpc.Metadata()] as const;
  for (const metadata of ends) {
    for (const name of ['x-echo', 'x-echo-bin']) {
      for (const value of call.metadata.get(name)) metadata.add(name, value);
    }
  }
  call.sendMetadata(ends[0]);
  callback(null, call.request, ends[1]);
};

/** `CODE MESSAGE`. */
const fail: Unary = (call, callback) => {
  const text = String(call.request);
  const at = text.indexOf(' ');
  const metadata = new grpc.Metadata();
  metadata.set('x-reason-bin', Buffer.from([0, 255, 10]));
  callback({ code: Number(text.slice(0, at)), details: text.slice(at + 1), metadata });
};

/** Answers never. */
const sleep: Unary = (call) => void call.on('cancelled', () => counts.cancelled++);

const cancelled: Unary = (_, callback) => callback(null, Buffer.from(String(counts.cancelled)));

/** GOAWAY; what has begun goes on, and then another server begins. */
const stop: Unary = (_, callback) => {
  callback(null, Buffer.alloc(0));
  setTimeout(() => server.tryShutdown(() => serve()), 50);
};

/** Messages and bytes of them; `refuse` is refused at once. */
function collect(call: grpc.ServerReadableStream<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>): void {
  let [messages, bytes] = [0, 0];
  let over = false;
  call.on('data', (message: Buffer) => {
    messages++;
    bytes += message.length;
    if (over || String(message) !== 'refuse') return;
    over = true;
    callback({ code: grpc.status.PERMISSION_DENIED, details: 'refused' });
  });
  call.on('end', () => over || callback(null, Buffer.from(`${messages} ${bytes}`)));
}

/** `COUNT`: messages of 0, 7, 14… bytes. */
function repeat(call: grpc.ServerWritableStream<Buffer, Buffer>): void {
  const count = Number(call.request);
  let i = 0;
  const more = () => {
    while (i < count) if (!call.write(Buffer.alloc(7 * i++, 'r'))) return void call.once('drain', more);
    call.end();
  };
  more();
}

function chat(call: grpc.ServerDuplexStream<Buffer, Buffer>): void {
  call.on('cancelled', () => counts.cancelled++);
  call.on('data', (message: Buffer) => {
    if (call.write(message)) return;
    call.pause();
    call.once('drain', () => call.resume());
  });
  call.on('end', () => call.end());
}

const { Absent: _, ...served } = methods;
const implementation = {
  Unary: unary,
  Compressed: unary,
  Fail: fail,
  Sleep: sleep,
  Cancelled: cancelled,
  Stop: stop,
  Collect: collect,
  Repeat: repeat,
  Chat: chat,
};

function serve(): void {
  server = new grpc.Server({ 'grpc.max_receive_message_length': 16 << 20 });
  server.addService(served, implementation);
  server.bindAsync(`0.0.0.0:${process.argv[2]}`, grpc.ServerCredentials.createInsecure(), (error) => {
    if (error) throw error;
  });
}

serve();
