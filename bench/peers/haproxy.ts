import { found } from '../../scripts/programs.ts';
import { clientPort, originPort, type Peer, tlsPort } from './peer.ts';

const head = `global
  nbthread 1
  maxconn 12000
  no strict-limits
  log stdout format raw local0 emerg
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
`;

/** One thread each, keep-alive and connection reuse on both hops; logging off. It counts two descriptors for a connection, of which idle ones need
 * one: without strict limits it starts where a process may have fewer. */
export const haproxy: Peer = {
  name: 'HAProxy',
  protocols: ['http1', 'http2'],
  missing: () => (found('haproxy') ? undefined : 'apt-get install haproxy'),
  files: (serverIp, protocol) => {
    const [plain, alpn] = protocol === 'http2' ? [' proto h2', ' alpn h2'] : ['', ''];
    return {
      'haproxy-server.cfg': `${head}
frontend in
  bind :${tlsPort} ssl crt /bench/server.pem ca-file /bench/ca.crt verify required ssl-min-ver TLSv1.3${alpn}
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort}${plain}
`,
      'haproxy-client.cfg': `${head}
frontend in
  bind 127.0.0.1:${clientPort}${plain}
  default_backend server
backend server
  server server ${serverIp}:${tlsPort} ssl crt /bench/client.pem ca-file /bench/ca.crt verify required verifyhost bench${alpn}
`,
    };
  },
  server: ['haproxy', '-db', '-f', '/bench/haproxy-server.cfg'],
  client: ['haproxy', '-db', '-f', '/bench/haproxy-client.cfg'],
};
