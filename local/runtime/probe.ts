/** Probes and lifecycle hooks, carried out from the node. */
import { spawn } from 'node:child_process';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import type { KubeObject } from '../../kube/types.ts';
import { askGrpc } from './grpc-probe.ts';

export interface Handler {
  httpGet?: {
    path?: string;
    port: number | string;
    scheme?: string;
    host?: string;
    httpHeaders?: { name: string; value: string }[];
  };
  tcpSocket?: { port: number | string; host?: string };
  exec?: { command: string[] };
  grpc?: { port: number; service?: string };
  sleep?: { seconds: number };
}

export interface ProbeTarget {
  address: string;
  container: KubeObject;
  /** Prefix that runs a command inside the container. */
  enter: () => string[];
}

function portOf(container: KubeObject, port: number | string): number {
  const named = (container.ports ?? []).find((one: KubeObject) => one.name === port);
  return named ? named.containerPort : Number(port);
}

/** undefined where it went well, else why not. */
export async function attempt(handler: Handler, target: ProbeTarget, seconds: number): Promise<string | undefined> {
  try {
    return await carryOut(handler, target, seconds);
  } catch (error) {
    // The container has ended meanwhile, or its probe cannot be asked at all.
    return (error as Error).message;
  }
}

function carryOut(handler: Handler, target: ProbeTarget, seconds: number): Promise<string | undefined> {
  const { httpGet, tcpSocket, exec, grpc, sleep } = handler;
  if (httpGet) return askHttp(httpGet, target, seconds);
  if (tcpSocket) return askTcp(tcpSocket.host ?? target.address, portOf(target.container, tcpSocket.port), seconds);
  if (exec) return runCommand([...target.enter(), ...exec.command], seconds);
  if (grpc) return askGrpc(target.address, grpc.port, grpc.service ?? '', seconds);
  if (sleep) return new Promise((resolve) => setTimeout(resolve, sleep.seconds * 1_000, undefined));
  throw new Error('it says neither httpGet, tcpSocket, exec, grpc nor sleep');
}

function askHttp(
  probe: NonNullable<Handler['httpGet']>,
  target: ProbeTarget,
  seconds: number,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const secure = probe.scheme === 'HTTPS';
    const headers: Record<string, string> = { 'user-agent': 'kube-probe/1.33', accept: '*/*', connection: 'close' };
    for (const { name, value } of probe.httpHeaders ?? []) headers[name.toLowerCase()] = value;
    const request = (secure ? httpsGet : httpGet)(
      {
        host: probe.host ?? target.address,
        port: portOf(target.container, probe.port),
        path: probe.path ?? '/',
        agent: false,
        headers,
        ...(secure ? { rejectUnauthorized: false } : {}),
      },
      (response) => {
        response.resume();
        const code = response.statusCode ?? 0;
        done(code >= 200 && code < 400 ? undefined : `HTTP probe failed with statuscode: ${code}`);
      },
    );
    const timer = setTimeout(() => done('context deadline exceeded'), seconds * 1_000);
    const done = (outcome: string | undefined): void => {
      clearTimeout(timer);
      resolve(outcome);
      request.destroy();
    };
    request.on('error', (error) => done(error.message));
  });
}

function askTcp(host: string, port: number, seconds: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: seconds * 1_000 });
    const done = (outcome: string | undefined): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once('connect', () => done(undefined));
    socket.once('timeout', () => done('context deadline exceeded'));
    socket.once('error', (error) => done(error.message));
  });
}

function runCommand(argv: string[], seconds: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: seconds * 1_000,
      killSignal: 'SIGKILL',
    });
    let said = '';
    const keep = (chunk: Buffer): void => {
      if (said.length < 4_096) said += chunk;
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code) =>
      resolve(code === 0 ? undefined : said.trim() || `command failed with ${code ?? 'a timeout'}`),
    );
  });
}

/** Repeats a probe until it is stopped; calls back when enough attempts in a row went well or badly. With `eager`,
 *  attempts come every 100 ms until the first success, so that a pod is ready when it is and not a whole period later;
 *  only one failure per period counts. */
export function keepProbing(
  probe: KubeObject,
  target: ProbeTarget,
  eager: boolean,
  on: { success: () => void; failure: (reason: string, threshold: boolean) => void },
): () => void {
  const {
    initialDelaySeconds = 0,
    periodSeconds = 10,
    timeoutSeconds = 1,
    successThreshold = 1,
    failureThreshold = 3,
  } = probe;
  let stopped = false;
  let succeeded = false;
  let [successes, failures] = [0, 0];
  let nextCounted = Date.now() + (eager ? (initialDelaySeconds + periodSeconds) * 1_000 : 0);
  let timer: NodeJS.Timeout;
  const once = async (): Promise<void> => {
    const problem = await attempt(probe as unknown as Handler, target, timeoutSeconds);
    if (stopped) return;
    if (problem === undefined) {
      failures = 0;
      succeeded = true;
      if (++successes === successThreshold) on.success();
    } else {
      successes = 0;
      if (succeeded || Date.now() >= nextCounted) {
        nextCounted = Date.now() + periodSeconds * 900;
        on.failure(problem, ++failures >= failureThreshold);
      }
    }
    if (!stopped)
      timer = setTimeout(once, eager && !succeeded ? Math.min(100, periodSeconds * 1_000) : periodSeconds * 1_000);
  };
  timer = setTimeout(once, initialDelaySeconds * 1_000);
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
