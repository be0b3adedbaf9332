/** nginx, HAProxy and Envoy, each in front of an origin that reports what it was passed. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { envoy as benchedEnvoy } from '../../../bench/peers/envoy.ts';
import { haproxy as benchedHaproxy } from '../../../bench/peers/haproxy.ts';
import type { Address } from '../../../protocol/discovery.ts';
import { found } from '../../../scripts/programs.ts';
import { startOrigin } from './node.ts';
import {
  type ClientKind,
  type FuzzClient,
  type FuzzServer,
  freePort,
  type ServerKind,
  startProgram,
} from './server.ts';

interface Front {
  name: string;
  missing(): string | undefined;
  takesInterim: boolean;
  /** Configuration for a port to listen on and one to pass requests to. */
  configure(port: number, origin: number, folder: string): string;
  command(file: string): string[];
}

/** Both a server, with an origin behind it, and a client of what it is put before. */
function front({ name, missing, takesInterim, configure, command }: Front): ServerKind & ClientKind {
  const before = async (behind: number, folder: string): Promise<FuzzClient> => {
    const port = await freePort();
    const own = await mkdtemp(path.join(folder, `${name}-`));
    const file = path.join(own, 'configuration');
    await writeFile(file, configure(port, behind, own));
    const [program, ...args] = command(file);
    const child = await startProgram(program!, args, port);
    return { name, port, takesInterim, close: () => void child.kill('SIGKILL') };
  };
  const start = async (folder: string): Promise<FuzzServer> => {
    const origin = await startOrigin();
    const { port, close } = await before(origin.port, folder);
    const end = (): void => {
      close();
      origin.close();
    };
    return { name, address: `127.0.0.1:${port}` as Address, tellsHeaders: false, heard: origin.heard, close: end };
  };
  return { name, missing, start, before };
}

export const nginx = front({
  name: 'nginx',
  missing: () => (found('nginx') ? undefined : 'apt-get install nginx-light'),
  takesInterim: false,
  configure: (port, origin, folder) => `worker_processes 1;
master_process off;
daemon off;
pid ${folder}/nginx.pid;
error_log /dev/null crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 0;
  keepalive_requests 1000000;
  large_client_header_buffers 8 64k;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/a; uwsgi_temp_path ${folder}/b; scgi_temp_path ${folder}/c;
  upstream origin { server 127.0.0.1:${origin} max_fails=0; keepalive 8; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_next_upstream off;
    }
  }
}
`,
  command: (file) => ['nginx', '-e', '/dev/null', '-c', file],
});

export const haproxy = front({
  name: 'haproxy',
  missing: benchedHaproxy.missing,
  // HAProxy 2.6 loses the end of a body without length that follows one.
  takesInterim: false,
  configure: (port, origin) => `global
  nbthread 1
  maxconn 500
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend origin
backend origin
  server origin 127.0.0.1:${origin}
`,
  command: (file) => ['haproxy', '-db', '-f', file],
});

const envoyHttp =
  'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const envoyRouter = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router';

export const envoy = front({
  name: 'envoy',
  missing: benchedEnvoy.missing,
  takesInterim: true,
  configure: (port, origin) => {
    const address = (number: number) => ({ socket_address: { address: '127.0.0.1', port_value: number } });
    const route = { match: { prefix: '/' }, route: { cluster: 'origin', timeout: '0s' } };
    const manager = {
      '@type': envoyHttp,
      stat_prefix: 'in',
      delayed_close_timeout: '0s',
      generate_request_id: false,
      http_protocol_options: { accept_http_10: true },
      route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [route] }] },
      http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': envoyRouter } }],
    };
    const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }];
    return JSON.stringify({
      static_resources: {
        listeners: [{ name: 'in', address: address(port), filter_chains: [{ filters }] }],
        clusters: [
          {
            name: 'origin',
            type: 'STATIC',
            load_assignment: {
              cluster_name: 'origin',
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(origin) } }] }],
            },
          },
        ],
      },
    });
  },
  command: (file) => [
    benchedEnvoy.server[0]!,
    ...['-c', file, '--concurrency', '1', '--log-level', 'off', '--disable-hot-restart'],
  ],
});
