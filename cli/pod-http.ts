/** One HTTP request over a port-forward to a pod. */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import { formatDuration } from './duration.ts';

const maxBytes = 64 * 1024 * 1024;

export interface PodAnswer {
  status: number;
  body: string;
}

/** @throws Error where no whole answer comes in time; `socket` is not to be used again */
export function exchange(
  socket: Duplex,
  { body, ...asked }: { path: string; method?: 'GET' | 'PUT' | 'POST'; body?: string },
  timeoutMs: number,
): Promise<PodAnswer> {
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
