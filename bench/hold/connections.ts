/** `connections.ts URL COUNT`: opens so many connections, asks once on each, says how many were answered and keeps them until its input ends. */
import http from 'node:http';

const [url, wanted] = [process.argv[2]!, Number(process.argv[3])];
const atOnce = 100;
const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: wanted });

/** Each connection has a request of its own: none is free before the last was asked for. */
function ask(): Promise<http.IncomingMessage | undefined> {
  return new Promise((resolve) => {
    http.get(url, { agent }, resolve).on('error', () => resolve(undefined));
  });
}

const responses: http.IncomingMessage[] = [];
for (let asked = 0; asked < wanted; asked += atOnce) {
  const some = await Promise.all(Array.from({ length: Math.min(atOnce, wanted - asked) }, ask));
  responses.push(...some.filter((one) => one !== undefined));
}
for (const response of responses) response.resume();
process.stdout.write(`${responses.length}\n`);
process.stdin.resume().on('end', () => process.exit(0));
