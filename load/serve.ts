/** Runs loads for who asks for them by port-forward, `POST /` with a description as JSON. */
import http from 'node:http';
import { json } from 'node:stream/consumers';
import { loadPort } from './options.ts';

/** On the pod's loopback. `run` is told by its signal when who asked has gone: nobody reads the answer then. */
export function serveLoads<T>(run: (load: T, signal: AbortSignal) => Promise<object>): void {
  const server = http.createServer((request, response) => {
    const send = (status: number, body: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    json(request)
      .then((load) => run(load as T, gone.signal))
      .then((result) => send(200, result))
      .catch((error: Error) => send(500, { message: error.message }));
  });
  server.requestTimeout = 0;
  server.listen(loadPort, '127.0.0.1');
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
}
