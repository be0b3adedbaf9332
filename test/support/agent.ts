/** Runs in a pod: opens sockets there for a test that is somewhere else (agent-client.ts). */
import { createServer, type Server, Socket } from 'node:net';
import { FrameReader, frame, windowBytes } from './agent-frames.ts';

interface Carried {
  socket: Socket;
  /** Bytes told to the test that it has not passed on. */
  unread: number;
}

const carried = new Map<number, Carried>();
const listeners = new Map<number, Server>();
/** The test numbers its own sockets from 0. */
let nextAccepted = 1 << 30;

const tell = (bytes: Buffer): void => void process.stdout.write(bytes);

function carry(id: number, socket: Socket): void {
  const state: Carried = { socket, unread: 0 };
  carried.set(id, state);
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => {
    state.unread += chunk.length;
    if (state.unread >= windowBytes) socket.pause();
    tell(frame('data', id, chunk));
  });
  socket.on('end', () => tell(frame('end', id)));
  let cause = '';
  socket.on('error', (error: NodeJS.ErrnoException) => {
    cause = error.code ?? error.message;
  });
  socket.on('close', () => {
    carried.delete(id);
    tell(frame('closed', id, cause));
  });
}

function dial(id: number, target: string): void {
  const [host, port] = target.split(' ');
  const socket = new Socket({ allowHalfOpen: true });
  carry(id, socket);
  socket.connect({ host: host!, port: Number(port) });
}

function listen(id: number, port: number): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const accepted = nextAccepted++;
    tell(frame('accepted', id, `${accepted} ${socket.remoteAddress}`));
    carry(accepted, socket);
  });
  listeners.set(id, server);
  server.on('error', (error: NodeJS.ErrnoException) => tell(frame('closed', id, error.code ?? error.message)));
  server.listen({ host: '0.0.0.0', port, backlog: 511 }, () => {
    tell(frame('listen', id, String((server.address() as { port: number }).port)));
  });
}

function onFrame(kind: string, id: number, body: Buffer): void {
  if (kind === 'dial') return dial(id, body.toString());
  if (kind === 'listen') return listen(id, Number(body));
  if (kind === 'closed' && listeners.has(id)) return void listeners.get(id)!.close();
  const state = carried.get(id);
  // What was on its way when the socket closed.
  if (!state) return;
  const { socket } = state;
  if (kind === 'data') socket.write(body, () => tell(frame('credit', id, String(body.length))));
  else if (kind === 'credit') {
    state.unread -= Number(body);
    if (state.unread < windowBytes) socket.resume();
  } else if (kind === 'end') socket.end();
  else if (kind === 'reset') socket.resetAndDestroy();
  else if (kind === 'closed') socket.destroy();
}

const reader = new FrameReader(onFrame);
process.stdin.on('data', (chunk: Buffer) => reader.push(chunk)).on('end', () => process.exit(0));
