/** Programs no one here wrote, as they come, both as clients and as servers in meshed pods. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageUrl, unable } from '../support/ground.ts';
import { installMesh } from '../support/installed-mesh.ts';
import { nodeCommand, type PodObject, type TestMesh, workload } from '../support/mesh.ts';

const shell = (source: string) => ['sh', '-ec', source];

const nginx = shell(`cat > /tmp/nginx.conf <<'END'
worker_processes 1; daemon off; pid /tmp/nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off; client_max_body_size 100m; client_body_temp_path /tmp;
  proxy_temp_path /tmp; fastcgi_temp_path /tmp; uwsgi_temp_path /tmp; scgi_temp_path /tmp;
  server {
    listen 8080;
    location / { root /opt/mesh; }
    location /hello { return 200 "hello from nginx\\n"; }
    location /small { client_max_body_size 1k; proxy_pass http://127.0.0.1:8080/hello; proxy_method GET; }
    location /post { proxy_pass http://127.0.0.1:8080/hello; proxy_method GET; }
  }
}
END
exec nginx -e stderr -c /tmp/nginx.conf`);

/** Its connections come from the pod's own address: the proxy makes them. */
const postgres = shell(`PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)
install -d -o postgres /tmp/data
as() { exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
(as initdb -D /tmp/data -A trust -U shop -N) > /dev/null
echo 'host all all 0.0.0.0/0 trust' >> /tmp/data/pg_hba.conf
as postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off`);

const mariadb = shell(`install -d -o nobody /tmp/data
mariadb-install-db --no-defaults --datadir=/tmp/data --user=nobody --skip-test-db > /dev/null
exec mariadbd --no-defaults --datadir=/tmp/data --user=nobody --skip-grant-tables --socket=/tmp/my.sock --bind-address=0.0.0.0`);

const ws = JSON.stringify(packageUrl('ws'));
const webSocketServer = `
import { WebSocketServer } from ${ws};
new WebSocketServer({ port: 8090, maxPayload: 64 << 20 }).on('connection', (socket) => {
  socket.send('welcome');
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});`;
const webSocketClient = `
import { WebSocket } from ${ws};
import { randomBytes } from 'node:crypto';
const socket = new WebSocket('ws://websocket:8090/');
const next = () => new Promise((resolve, reject) => socket.once('message', resolve).once('error', reject).once('close', reject));
const big = randomBytes(8 << 20);
const heard = [];
heard.push(String(await next()));
for (const message of ['one', 'two', 'drei \\u00fc']) {
  socket.send(message);
  heard.push(String(await next()));
}
socket.send(big);
heard.push((await next()).equals(big));
const pong = new Promise((resolve) => socket.once('pong', resolve));
socket.ping();
await pong;
socket.removeAllListeners('close');
const closed = new Promise((resolve) => socket.once('close', resolve));
socket.close(4001, 'enough');
heard.push(await closed);
console.log(JSON.stringify(heard));`;

const http2Server = `
import { createServer } from 'node:http2';
createServer().on('stream', (stream, headers) => {
  const reply = { ':status': 200, 'content-type': 'application/grpc' };
  stream.on('error', () => {});
  stream.respond(reply, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  if (headers[':method'] === 'GET') stream.end('hello over HTTP/2');
  else stream.pipe(stream);
}).listen(9000);`;
const http2Client = `
import { connect } from 'node:http2';
import { randomBytes } from 'node:crypto';
const session = connect('http://http2:9000');
const call = (body) => new Promise((resolve, reject) => {
  const stream = session.request({ ':method': 'POST', ':path': '/shop.Cart/Add', te: 'trailers' });
  const chunks = [];
  let status;
  stream.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
  stream.on('trailers', (trailers) => (status = trailers['grpc-status']));
  stream.on('end', () => resolve(status === '0' && Buffer.concat(chunks).equals(body)));
  stream.end(body);
});
const all = await Promise.all(Array.from({ length: 40 }, (_, i) => call(randomBytes(1 + i * 5000))));
console.log(all.every(Boolean), all.length);
session.close();`;

describe.skipIf(unable)('programs', () => {
  let mesh: TestMesh;
  let client: PodObject;
  let plain: PodObject;

  beforeAll(async () => {
    mesh = await installMesh('programs');
    const servers = [
      workload('nginx', nginx, { port: 8080 }),
      workload('python', ['/usr/bin/python3', '-m', 'http.server', '8000', '-d', '/opt/mesh'], { port: 8000 }),
      workload('redis', ['redis-server', '--save', '', '--protected-mode', 'no', '--dir', '/tmp'], { port: 6379 }),
      workload('postgres', postgres, { port: 5432 }),
      workload('mariadb', mariadb, { port: 3306 }),
      workload('websocket', nodeCommand(webSocketServer), { port: 8090 }),
      workload('http2', nodeCommand(http2Server), { port: 9000 }),
    ];
    const idle = ['sleep', 'infinity'];
    await mesh.apply([workload('client', idle), ...servers].join('\n---\n'), true);
    await mesh.apply(workload('plain', idle), false);
    const apps = ['client', 'plain', 'nginx', 'python', 'redis', 'postgres', 'mariadb', 'websocket', 'http2'];
    [client, plain] = (await Promise.all(apps.map((app) => mesh.ready(app)))).map(([pod]) => pod!) as [
      PodObject,
      PodObject,
    ];
  });
  afterAll(async () => expect((await mesh?.uninstall()) ?? []).toEqual([]));

  const run = (...command: string[]) => mesh.exec(client, ...command);

  test.each([
    ['nginx', () => client, 'http://nginx:8080/hello'],
    ['nginx from outside the mesh', () => plain, 'http://nginx:8080/hello'],
  ])('curl and %s', async (_, from, url) => {
    const curl = (...args: string[]) => mesh.exec(from(), 'curl', '-sS', '-m', '10', ...args);
    await mesh.reaches(from(), url);
    expect(await curl(url)).toBe('hello from nginx');
    expect(await curl('--http1.0', url)).toBe('hello from nginx');
    expect(await curl('-I', url)).toMatch(/^HTTP\/1\.1 200 OK\r?\nServer: nginx/);
    expect(await curl(url, url, url)).toBe('hello from nginx\n'.repeat(3).trim());
    // More than 1 MiB: curl asks first (Expect: 100-continue).
    const upload = 'head -c 3000000 /dev/zero | curl -sS -m 10 --data-binary @- ';
    expect(await mesh.exec(from(), 'sh', '-c', `${upload}${url.replace('hello', 'post')}`)).toBe('hello from nginx');
    // Refused while it is still being sent.
    const refused = `${upload}-H 'Expect:' -o /dev/null -w '%{http_code}' ${url.replace('hello', 'small')}`;
    expect(await mesh.exec(from(), 'sh', '-c', refused)).toBe('413');
    const sum = (command: string) => mesh.exec(from(), 'sh', '-c', `${command} | sha256sum`);
    expect(await sum('curl -sS -m 10 http://nginx:8080/control.js')).toBe(await sum('cat /opt/mesh/control.js'));
    const part = await curl('-r', '10-19', '-w', '%{http_code}', '-o', '/dev/null', 'http://nginx:8080/control.js');
    expect(part).toBe('206');
  });

  test('wrk and nginx', async () => {
    const report = await run('wrk', '-t', '1', '-c', '8', '-d', '2s', 'http://nginx:8080/hello');
    expect(report).toMatch(/^ {2}\d+ requests in/m);
    expect(report).not.toMatch(/Socket errors|Non-2xx/);
  });

  test('python: urllib and http.server', async () => {
    const source = `
import hashlib, json, urllib.request, urllib.error
body = urllib.request.urlopen('http://python:8000/control.js', timeout=10).read()
try: urllib.request.urlopen('http://python:8000/nothing', timeout=10)
except urllib.error.HTTPError as error: missing = error.code
request = urllib.request.Request('http://nginx:8080/post', data=b'x' * 200000)
print(json.dumps([hashlib.sha256(body).hexdigest(), missing, urllib.request.urlopen(request, timeout=10).read().decode()]))`;
    const [digest, missing, posted] = JSON.parse(await run('/usr/bin/python3', '-c', source)) as unknown[];
    const expected = await run('sha256sum', '/opt/mesh/control.js');
    expect([digest, missing, posted]).toEqual([expected.split(' ')[0], 404, 'hello from nginx\n']);
  });

  test('redis: commands, a pipeline, a subscription, a benchmark', async () => {
    const cli = (...args: string[]) => run('redis-cli', '-h', 'redis', ...args);
    expect(await cli('set', 'color', 'green')).toBe('OK');
    expect(await cli('get', 'color')).toBe('green');
    const mass = await run('sh', '-c', `seq 1 5000 | sed 's/.*/SET key& &/' | redis-cli -h redis --pipe`);
    expect(mass).toMatch(/errors: 0, replies: 5000/);
    const heard = await run(
      'sh',
      '-c',
      `(timeout 5 redis-cli -h redis subscribe news & until [ "$(redis-cli -h redis publish news now)" = 1 ]; do :; done; wait) | head -n 6`,
    );
    expect(heard.split('\n').slice(3)).toEqual(['message', 'news', 'now']);
    const report = await run('redis-benchmark', '-h', 'redis', '-q', '-n', '5000', '-c', '20', '-t', 'set,get');
    expect(report).toMatch(/SET: [\d.]+ requests[\s\S]*GET: [\d.]+ requests/);
  });

  test('postgresql: psql', async () => {
    const psql = (sql: string) =>
      run('psql', '-h', 'postgres', '-U', 'shop', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-Atqc', sql);
    await psql(`create table orders as select i as id, repeat('x', 100) as note from generate_series(1, 50000) i`);
    expect(await psql('select count(*), max(id) from orders')).toBe('50000|50000');
    expect((await psql('copy orders to stdout')).length).toBeGreaterThan(5_000_000);
    await expect(psql('select no_such_column from orders')).rejects.toThrow('no_such_column');
  });

  test('mariadb, which speaks first: the client, and its greeting within 200 ms', async () => {
    const sql = (text: string) => run('mariadb', '--no-defaults', '-h', 'mariadb', '-N', '-e', text);
    expect(await sql('select 6 * 7')).toBe('42');
    expect(await sql('select count(*) from information_schema.tables where table_schema = "mysql"')).toMatch(/^\d\d$/);
    const times = await mesh.script(
      client,
      `import { connect } from 'node:net';
       const times = [];
       for (let i = 0; i < 6; i++) {
         const from = performance.now();
         const socket = connect(3306, ${JSON.stringify(await mesh.address('mariadb'))});
         const greeting = await new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject));
         times.push(greeting.toString('latin1').includes('MariaDB') ? performance.now() - from : 1e9);
         socket.destroy();
       }
       console.log(times.map(Math.round).join(' '));`,
    );
    process.stderr.write(`mariadb's greeting through the mesh, ms: ${times}\n`);
    expect(Math.max(...times.split(' ').map(Number)), times).toBeLessThan(200);
  });

  test('WebSocket: a message directly behind the handshake, text, 8 MiB of bytes, ping, close code', async () => {
    const heard = JSON.parse(await mesh.script(client, webSocketClient));
    expect(heard).toEqual(['welcome', 'one', 'two', 'drei ü', true, 4001]);
  });

  test('HTTP/2 with trailers, as gRPC has them: node, curl, h2load', async () => {
    expect(await mesh.script(client, http2Client)).toBe('true 40');
    const curl = ['curl', '-sS', '-m', '10', '--http2-prior-knowledge', '-w', ' %{http_version}', 'http://http2:9000/'];
    expect(await run(...curl)).toBe('hello over HTTP/2 2');
    const report = await run('h2load', '-n', '2000', '-c', '4', '-m', '10', 'http://http2:9000/');
    expect(report).toMatch(/2000 succeeded, 0 failed, 0 errored, 0 timeout/);
  });
});
