/** The load generator in a pod: runs one load at a time for who asks for it by port-forward, `POST /` with LoadOptions. */
import http from 'node:http';
import { json } from 'node:stream/consumers';
import { type LoadOptions, loadPort } from './options.ts';
import { runPaced } from './paced.ts';

const server = http.createServer((request, response) => {
  const send = (status: number, body: object): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  // Who asked has gone: nobody reads the answer.
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  json(request)
    .then((options) => runPaced(options as LoadOptions, gone.signal))
    .then((result) => send(200, result))
    .catch((error: Error) => send(500, { message: error.message }));
});
server.requestTimeout = 0;
server.listen(loadPort, '127.0.0.1');
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
