/** The control plane's API: HTTP over a port-forward to a ready pod, so that Kubernetes' own rights guard it. */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import { type KubeClient, KubeError } from '../kube/client.ts';
import { resources } from '../kube/resources.ts';
import type { KubeObject } from '../kube/types.ts';
import type { ApiError } from '../protocol/api.ts';
import { controlName, controlNamespace } from '../protocol/names.ts';
import { apiPort } from '../protocol/ports.ts';
import { CliError, exitCode } from './errors.ts';

const timeoutMs = 10_000;
const maxBytes = 64 * 1024 * 1024;

export interface ControlApi {
  /** The parsed JSON of a 200. @throws CliError `control-unreachable`, or with the control plane's own code */
  get<T>(path: string): Promise<T>;
  /** Ends calls that are under way. */
  close(): void;
}

/** Ready, and not on its way out. */
export function isReadyPod(pod: KubeObject): boolean {
  const conditions: { type: string; status: string }[] = pod.status?.conditions ?? [];
  return !pod.metadata.deletionTimestamp && conditions.some((one) => one.type === 'Ready' && one.status === 'True');
}

/** @throws CliError `mesh-not-installed` or `control-not-ready` */
export async function controlApi(kube: KubeClient): Promise<ControlApi> {
  const labelSelector = `app.kubernetes.io/name=${controlName}`;
  const pods = await kube.list(resources.pods, { namespace: controlNamespace, labelSelector });
  if (pods.length === 0) {
    throw new CliError({
      code: 'mesh-not-installed',
      message: `There is no control plane in "${kube.name}": namespace ${controlNamespace} has no pod of ${controlName}.`,
      fix: 'Run `mesh install`.',
    });
  }
  const pod = pods.find(isReadyPod)?.metadata.name;
  if (!pod) {
    throw new CliError({
      code: 'control-not-ready',
      message: `No pod of deploy/${controlName} in namespace ${controlNamespace} is ready.`,
      fix: 'Run `mesh check`.',
      exit: exitCode.unreachable,
    });
  }
  const sockets = new Set<Duplex>();
  return {
    get: <T>(path: string) => call<T>(kube, pod, path, sockets),
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function call<T>(kube: KubeClient, pod: string, path: string, sockets: Set<Duplex>): Promise<T> {
  let socket: Duplex;
  try {
    socket = await kube.portForward(controlNamespace, pod, apiPort);
    sockets.add(socket);
  } catch (error) {
    if (error instanceof KubeError && error.status === 403) throw error;
    throw unreachable(pod, error);
  }
  try {
    const { status, body } = await exchange(socket, path);
    const parsed: unknown = JSON.parse(body);
    if (status === 200) return parsed as T;
    const refused = parsed as ApiError;
    throw new CliError({ code: refused.code, message: refused.message });
  } catch (error) {
    throw error instanceof CliError ? error : unreachable(pod, error);
  } finally {
    sockets.delete(socket);
    socket.destroy();
  }
}

function unreachable(pod: string, cause: unknown): CliError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new CliError({
    code: 'control-unreachable',
    message: `The control plane (pod ${pod} in namespace ${controlNamespace}) does not answer${why}.`,
    cause,
    fix: 'Run `mesh check`.',
    exit: exitCode.unreachable,
  });
}

function exchange(socket: Duplex, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request({
      path,
      headers: { host: 'localhost', connection: 'close' },
      createConnection: () => socket,
      timeout: timeoutMs,
    });
    const timer = setTimeout(() => call.destroy(new Error('no answer within 10 s')), timeoutMs);
    call.on('close', () => clearTimeout(timer));
    call.on('error', reject);
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    call.end();
  });
}
