/**
 * The first container of a pod whose rules the CNI plugin writes: proves that they are there, by a connection that
 * reaches this process instead of where it goes. Without them the application would speak in plain text, so the pod does
 * not start.
 */
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { outboundPort } from '../protocol/ports.ts';

const timeoutMs = 10_000;

/** A port of the address that no rule leaves alone. */
function redirectedPort(skipped: string): number | undefined {
  const ranges = skipped.split(',').map((part) => part.split('-').map(Number));
  const isSkipped = (port: number): boolean =>
    ranges.some(([from, to = from]) => from !== undefined && port >= from && port <= to!);
  for (let port = 65_535; port > 0; port--) if (!isSkipped(port)) return port;
  return undefined;
}

/** @throws Error where the connection ends elsewhere, or nowhere */
function expectRedirect(server: net.Server, host: string, port: number): Promise<void> {
  const secret = randomBytes(16);
  server.on('connection', (socket) => socket.on('error', () => undefined).end(secret));
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port });
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => (Buffer.concat(chunks).equals(secret) ? resolve() : reject(new Error('another answered'))));
    socket.on('close', () => clearTimeout(timer));
  });
}

const { KUBERNETES_SERVICE_HOST: host = '', MESH_VALIDATE_NODE_NAME: node = '' } = process.env;
const port = redirectedPort(process.env.MESH_VALIDATE_SKIP_OUTBOUND_PORTS ?? '');
const say = (line: string): boolean => process.stderr.write(`mesh-validate: ${line}\n`);

async function main(): Promise<number> {
  if (port === undefined) {
    say('every outbound port bypasses the proxy; there is nothing to look at');
    return 0;
  }
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(outboundPort, host.includes(':') ? '::1' : '127.0.0.1', resolve);
  });
  try {
    // Any address with a route would do; this one is known to every pod. Redirected, the connection never leaves the pod.
    await expectRedirect(server, host, port);
  } catch (error) {
    say(
      `the traffic of this pod is not redirected to its proxy (${(error as Error).message}): the CNI plugin of the mesh was not in place on node ${node} when the pod's network was made. Delete the pod to have it made anew; mesh check says whether the plugin is ready`,
    );
    return 1;
  }
  say('redirect rules are in place');
  return 0;
}

main().then(
  (code) => process.exit(code),
  (error: Error) => {
    say(error.message);
    process.exit(1);
  },
);
