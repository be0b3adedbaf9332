/** A server that reads what the proxy sends on: its own parser, or its own and an origin behind it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import type { Address } from '../../../protocol/discovery.ts';

export interface FuzzServer {
  name: string;
  address: Address;
  /** Whether its reports tell headers too. */
  tellsHeaders: boolean;
  /** Reports of all whole requests since the last call, where they can be heard apart from the responses. */
  heard: (() => string[]) | undefined;
  close(): void;
}

export interface ServerKind {
  name: string;
  /** What is missing here; undefined where it can be started. */
  missing(): string | undefined;
  /** `folder` is for its files. */
  start(folder: string): Promise<FuzzServer>;
}

/** A client of the proxy, reached at a port of its own; the port of the proxy itself for a client in this process. */
export interface FuzzClient {
  name: string;
  port: number;
  /** Whether it reads interim responses (1xx) that it has not asked for. */
  takesInterim: boolean;
  close(): void;
}

export interface ClientKind {
  name: string;
  missing(): string | undefined;
  /** Puts it in front of a port. */
  before(port: number, folder: string): Promise<FuzzClient>;
}

/** A port that was free a moment ago, for programs that cannot tell which one they were given. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a program and waits until it takes connections. @throws Error with what it wrote where it ends before */
export async function startProgram(command: string, args: readonly string[], port: number): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let gone: string | undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      if (said.length < 8000) said += chunk.toString();
    });
  }
  child.on('error', (error) => {
    gone = error.message;
  });
  child.on('exit', (code) => {
    gone = `it ended with ${code}`;
  });
  for (const deadline = performance.now() + 20_000; performance.now() < deadline && gone === undefined; ) {
    if (await answers(port)) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.kill('SIGKILL');
  throw new Error(`${command} does not listen: ${gone ?? 'not within 20 s'}\n${said}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
