/** The origin of the benchmarks: nginx with one worker; a body of 35 bytes, files of other sizes, and an answer in gRPC. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Protocol } from './peers/peer.ts';

/** `POST` here gets one message and the trailer of success. */
export const grpcPath = '/bench.Echo/Echo';

/** What listens on this port of the pod takes requests for /hold and never answers. */
export const holdPort = 8070;

/** Each server listens on a port, for one protocol without TLS. */
export const nginxConf = (...servers: [port: number, protocol: Protocol][]) => `worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16 inactive=600s;
  keepalive_timeout 600s;
  keepalive_requests 100000000;
  client_body_temp_path /tmp; proxy_temp_path /tmp; fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;
${servers.map(([port, protocol]) => server(port, protocol)).join('')}}
`;

const server = (port: number, protocol: Protocol) => `  server {
    listen ${port} backlog=4096${protocol === 'http2' ? ' http2' : ''};
    location / { default_type text/plain; return 200 "hello from the origin of the bench\\n"; }
    location = /missing { return 404; }
    location /files/ { root /bench; error_page 405 =200 $uri; }
    location = ${grpcPath} { error_page 405 =200 /grpc/reply; return 405; }
    location /grpc/ { root /bench/files; default_type application/grpc; add_trailer grpc-status 0; }
    location = /hold { proxy_pass http://127.0.0.1:${holdPort}; proxy_read_timeout 600s; }
  }
`;

/** The files that nginx serves, into the folder that is mounted at /bench. */
export async function writeFiles(folder: string): Promise<void> {
  const files = path.join(folder, 'files');
  await mkdir(files, { mode: 0o755, recursive: true });
  for (const [name, bytes] of [
    ['16k', 16 * 1024],
    ['1m', 2 ** 20],
  ] as const)
    await writeFile(path.join(files, name), Buffer.alloc(bytes, 'mesh bench, line by line\n'));
  await mkdir(path.join(files, 'grpc'), { mode: 0o755, recursive: true });
  await writeFile(path.join(files, 'grpc/reply'), grpcMessage);
}

/** One message: not compressed, its length, and a string as field 1. */
const grpcMessage = Buffer.concat([Buffer.from([0, 0, 0, 0, 14]), Buffer.from('\n\fhello, bench')]);
