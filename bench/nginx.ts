/** The origin of the benchmarks: nginx with one worker and a body of 35 bytes. */
import { originPort, type Protocol } from './peers/peer.ts';

export const nginxConf = (protocol: Protocol) => `worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 100000000;
  client_body_temp_path /tmp; proxy_temp_path /tmp; fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;
  server {
    listen ${originPort} backlog=4096${protocol === 'http2' ? ' http2' : ''};
    location / { default_type text/plain; return 200 "hello from the origin of the bench\\n"; }
  }
}
`;
