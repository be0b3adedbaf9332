/** Node's HTTP server (llhttp); also the origin behind the servers that are proxies. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '../../../protocol/discovery.ts';
import { report } from '../report.ts';
import type { ClientKind, FuzzServer, ServerKind } from './server.ts';

/** Of a request that was read by a server of this kind, and reported; no server answers so by itself. */
export const reportedStatus = 299;

export interface Origin {
  port: number;
  /** Reports since the last call. */
  heard(): string[];
  close(): void;
}

export async function startOrigin(): Promise<Origin> {
  let reports: string[] = [];
  const server = createServer({ maxHeaderSize: 128 << 10, keepAliveTimeout: 60_000 }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (chunk: Buffer) => parts.push(chunk));
    request.on('error', () => {}); // cut off: nothing to report
    request.on('end', () => {
      const line = understood(request, Buffer.concat(parts));
      reports.push(line);
      response.writeHead(reportedStatus, { 'x-report': line, 'content-length': 3 });
      response.end('ok\n');
    });
  });
  server.on('connection', (socket) => socket.setNoDelay(true));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    heard() {
      const all = reports;
      reports = [];
      return all;
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function understood(request: IncomingMessage, body: Buffer): string {
  const extra: string[] = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i]!.toLowerCase();
    if (name.startsWith('x-')) extra.push(`${name}:${request.rawHeaders[i + 1]}`);
  }
  const { method, url: target, headers } = request;
  return report({ method: method!, target: target!, host: headers.host ?? '', body, extra: extra.sort() });
}

export const nodeServer: ServerKind = {
  name: 'node',
  missing: () => undefined,
  async start(): Promise<FuzzServer> {
    const origin = await startOrigin();
    const address = `127.0.0.1:${origin.port}` as Address;
    return { name: 'node', address, tellsHeaders: true, heard: origin.heard, close: origin.close };
  },
};

/** Node's own client, which asks the proxy from this process. */
export const nodeClient: ClientKind = {
  name: 'node',
  missing: () => undefined,
  before: async (port) => ({ name: 'node', port, takesInterim: true, close() {} }),
};
