/** One end of the http-proxy pair: `http-proxy-pair.ts client|server PORT TARGET` (TARGET `@FILE` is read from a file). */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import httpProxy from 'http-proxy';

const [role, port, given] = process.argv.slice(2) as [string, string, string];
const target = given.startsWith('@') ? readFileSync(given.slice(1), 'utf8').trim() : given;
const read = (name: string) => readFileSync(`/bench/${name}`);

const proxy = httpProxy.createProxyServer(
  role === 'client'
    ? {
        target,
        secure: true,
        agent: new https.Agent({
          keepAlive: true,
          maxSockets: 1024,
          cert: read('client.crt'),
          key: read('client.key'),
          ca: read('ca.crt'),
          servername: 'bench',
        }),
      }
    : { target, agent: new http.Agent({ keepAlive: true, maxSockets: 1024 }) },
);
proxy.on('error', (error, _request, response) => {
  process.stderr.write(`${error.message}\n`);
  if ('writeHead' in response && !response.headersSent) response.writeHead(502).end();
});
const listener: http.RequestListener = (request, response) => proxy.web(request, response);
if (role === 'client') http.createServer(listener).listen(Number(port), '127.0.0.1');
else {
  https
    .createServer(
      {
        cert: read('server.crt'),
        key: read('server.key'),
        ca: read('ca.crt'),
        requestCert: true,
        rejectUnauthorized: true,
        minVersion: 'TLSv1.3',
      },
      listener,
    )
    .listen(Number(port));
}
