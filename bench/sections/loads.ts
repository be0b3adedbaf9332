/** The sections that ask for as much as goes through. */
import { h2latencies, h2load, streams } from '../h2load.ts';
import { grpcPath } from '../nginx.ts';
import { wrk } from '../wrk.ts';
import type { Section } from './section.ts';
import { type Load, throughput } from './throughput.ts';

const http1Load = (
  connections: number,
  label = `${connections} connections`,
  path = '',
  more: string[] = [],
): Load => ({
  label,
  run: (ground, pair, seconds) => wrk(ground.inside(pair), pair.url + path, connections, seconds, more),
});

const http2Load = (connections: number, label: string, path = '', more: string[] = []): Load => ({
  label,
  run: (ground, pair, seconds) => h2load(ground.inside(pair), pair.url + path, connections, seconds, more),
  latencies: (ground, pair) => h2latencies(ground.inside(pair), pair.url + path, connections, pair.folder, more),
});

export const http1: Section = {
  name: 'http1',
  title: 'HTTP/1.1',
  about: 'wrk, connections that are kept open, a body of 35 bytes.',
  protocol: 'http1',
  run: (ground) =>
    throughput(
      ground,
      ground.connections.map((count) => http1Load(count)),
    ),
};

export const bodies: Section = {
  name: 'bodies',
  title: 'Bodies',
  about: 'wrk, HTTP/1.1 with responses of 16 KiB and 1 MiB, from files that nginx keeps open.',
  protocol: 'http1',
  run: (ground) =>
    throughput(ground, [
      http1Load(32, '16 KiB, 32 connections', 'files/16k'),
      http1Load(8, '1 MiB, 8 connections', 'files/1m'),
    ]),
};

export const reconnecting: Section = {
  name: 'connections',
  title: 'New connections',
  about:
    'wrk, HTTP/1.1 without keep-alive: a connection of the client for each request; between the proxies they keep theirs.',
  protocol: 'http1',
  run: (ground) =>
    throughput(ground, [http1Load(32, '32 at once, each for one request', '', ['-H', 'Connection: close'])]),
};

const h2Connections = 4;

export const http2: Section = {
  name: 'http2',
  title: 'HTTP/2',
  about: 'h2load, a body of 35 bytes.',
  protocol: 'http2',
  run: (ground) => throughput(ground, [http2Load(h2Connections, `${h2Connections} × ${streams} streams`)]),
};

/** A message goes and one comes back, of some bytes each; nginx answers with the trailer of success. */
const unary = ['-H', 'content-type: application/grpc', '-H', 'te: trailers', '-d', '/bench/files/grpc/reply'];

export const grpc: Section = {
  name: 'grpc',
  title: 'gRPC, unary',
  about: 'h2load, POST of one message to nginx, which answers with one message and trailers as a gRPC server does.',
  protocol: 'http2',
  run: (ground) =>
    throughput(ground, [http2Load(h2Connections, `${h2Connections} × ${streams} calls`, grpcPath.slice(1), unary)]),
};
