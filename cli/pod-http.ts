/** One HTTP request over a port-forward to a pod. */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import type { KubeClient } from '../kube/client.ts';
import type { KubeObject } from '../kube/types.ts';
import { formatDuration } from './duration.ts';

const maxBytes = 64 * 1024 * 1024;

export interface PodAnswer {
  status: number;
  body: string;
}

interface PodRequest {
  path: string;
  method?: 'GET' | 'PUT' | 'POST';
  body?: string;
  signal?: AbortSignal;
}

/** @throws KubeError where the pod cannot be reached; Error where no whole answer comes in time, or `signal` ends it */
export async function askPod(
  kube: KubeClient,
  { namespace, name }: Pick<KubeObject['metadata'], 'namespace' | 'name'>,
  port: number,
  asked: PodRequest,
  timeoutMs: number,
): Promise<PodAnswer> {
  const socket = await kube.portForward(namespace!, name!, port);
  try {
    return await exchange(socket, asked, timeoutMs);
  } finally {
    socket.destroy();
  }
}

function exchange(socket: Duplex, { body, ...asked }: PodRequest, timeoutMs: number): Promise<PodAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({
      ...asked,
      headers: { host: 'localhost', connection: 'close' },
      createConnection: () => socket,
    });
    const late = `no answer within ${formatDuration(timeoutMs)} (--request-timeout)`;
    const timer = setTimeout(() => call.destroy(new Error(late)), timeoutMs);
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
    call.end(body);
  });
}
