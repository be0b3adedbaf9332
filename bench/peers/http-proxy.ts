import path from 'node:path';
import { clientPort, originPort, type Peer, tlsPort } from './peer.ts';

const program = path.join(import.meta.dirname, 'http-proxy-pair.ts');
const run = (role: string, ...args: (string | number)[]) => [process.execPath, program, role, ...args.map(String)];

/** The npm package http-proxy on both ends, keep-alive agents, as its users run it. */
export const httpProxy: Peer = {
  name: 'http-proxy',
  protocols: ['http1'],
  missing: () => undefined,
  files: (serverIp) => ({ 'http-proxy-target': `https://${serverIp}:${tlsPort}` }),
  server: run('server', tlsPort, `http://127.0.0.1:${originPort}`),
  client: run('client', clientPort, '@/bench/http-proxy-target'),
};
