/** Runs loads in the client's pod, one at a time; asked for them by port-forward: `POST /` with a Load as JSON. */
import { execFile } from 'node:child_process';
import http from 'node:http';
import { json } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { type LoadOptions, loadPort } from '../../load/options.ts';
import { runPaced } from '../../load/paced.ts';

export type Load = { wrk: string[] } | { paced: LoadOptions };

const run = promisify(execFile);

async function answer(load: Load): Promise<object> {
  if ('paced' in load) return runPaced(load.paced);
  return { stdout: (await run('/usr/bin/wrk', load.wrk)).stdout };
}

if (import.meta.main)
  http
    .createServer((request, response) => {
      const send = (status: number, body: object) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      json(request)
        .then((load) => answer(load as Load))
        .then((result) => send(200, result))
        .catch((error: Error) => send(500, { message: error.message }));
    })
    .listen(loadPort, '127.0.0.1');
