import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { attempt } from './probe.ts';

const target = (enter: () => string[] = () => []) => ({
  address: '127.0.0.1',
  container: { name: 'main', ports: [{ name: 'web', containerPort: 1 }] } as never,
  enter,
});

describe('a probe', () => {
  it('of a container that has just ended is one that failed, not a failure of the daemon', async () => {
    const gone = (): string[] => {
      throw new Error('container main is not running');
    };
    expect(await attempt({ exec: { command: ['true'] } }, target(gone), 1)).toBe('container main is not running');
  });

  it('that asks nothing fails', async () => {
    expect(await attempt({}, target(), 1)).toContain('neither httpGet');
  });

  it('runs a command and says why it failed', async () => {
    expect(await attempt({ exec: { command: ['true'] } }, target(), 1)).toBeUndefined();
    expect(await attempt({ exec: { command: ['sh', '-c', 'echo no; exit 1'] } }, target(), 1)).toBe('no');
    expect(await attempt({ exec: { command: ['sleep', '10'] } }, target(), 0.1)).toContain('timeout');
  });

  it.each([
    ['serving', [8, 1], '0', undefined],
    ['not serving', [8, 2], '0', 'service unhealthy (responded with 2)'],
    ['unknown', [], '0', 'service unhealthy (responded with 0)'],
    ['no such service', [], '5', 'gRPC probe failed with status code 5'],
  ])('over gRPC takes the answer "%s" for what it is', async (_, body, status, outcome) => {
    const asked: { path: unknown; message: string }[] = [];
    const server = createServer().on('stream', (stream: ServerHttp2Stream, headers) => {
      stream.on('data', (chunk: Buffer) =>
        asked.push({ path: headers[':path'], message: chunk.subarray(7).toString() }),
      );
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status }));
      stream.end(Buffer.from([0, 0, 0, 0, body.length, ...body]));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    expect(await attempt({ grpc: { port, service: 'shop' } }, target(), 5)).toBe(outcome);
    expect(asked).toEqual([{ path: '/grpc.health.v1.Health/Check', message: 'shop' }]);
    server.close();
  });

  it('over gRPC fails where nothing listens', async () => {
    expect(await attempt({ grpc: { port: 1 } }, target(), 1)).toContain('ECONNREFUSED');
  });
});
