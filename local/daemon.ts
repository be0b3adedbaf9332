/**
 * The local mesh's cluster, in the node's network namespace: API server, controllers, network, pods. Started and kept by
 * the supervisor, which hands down the API's listening socket as descriptor 3. When it ends, however it ends, the pods
 * go on, and the next daemon adopts them.
 * Arguments: state folder, run folder, port of the API on the machine's 127.0.0.1.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { resources } from '../kube/resources.ts';
import { ApiServer } from './api/server.ts';
import { startControllers } from './controllers/index.ts';
import { makeLog } from './log.ts';
import type { FromDaemon, ToDaemon } from './messages.ts';
import { AddressPool, apiServiceAddress, dnsAddress, nodeAddress, nodeApiPort } from './network/addresses.ts';
import { serveDns } from './network/dns.ts';
import { keepPublished } from './network/publish.ts';
import { keepServices } from './network/services.ts';
import { nodeObject } from './node.ts';
import type { Objects } from './objects.ts';
import { replaceFile } from './runtime/files.ts';
import { LocalImages } from './runtime/image.ts';
import { Runtime } from './runtime/index.ts';

const [state, run, port] = process.argv.slice(2) as [string, string, string];
const nodeName = 'local';
const inheritedSocket = 3;

const log = makeLog('daemon');

function tell(message: FromDaemon): void {
  if (process.connected) process.send?.(message);
}

function writeKubeconfig(api: ApiServer): void {
  const name = 'mesh-local';
  const data = Buffer.from(api.root).toString('base64');
  const content = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': data } }],
    users: [{ name, user: { token: api.adminToken } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: 'default' } }],
    'current-context': name,
  });
  const file = join(state, 'kubeconfig');
  // Written only where it differs: a start must succeed on a full disk too.
  if (!existsSync(file) || readFileSync(file, 'utf8') !== content) replaceFile(file, content);
}

async function ensureNode(objects: Objects): Promise<void> {
  const fresh = nodeObject(nodeName);
  if (!objects.get(resources.nodes, nodeName)) await objects.create(resources.nodes, fresh);
  await objects.updateStatus(resources.nodes, nodeName, undefined, () => fresh.status);
}

/** The endpoint of the service `kubernetes`: this process, at the node's address. */
async function ensureApiEndpoint(objects: Objects): Promise<void> {
  const { endpointSlices } = resources;
  if (objects.get(endpointSlices, 'kubernetes', 'default')) return;
  await objects.create(endpointSlices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    ports: [{ name: 'https', port: nodeApiPort, protocol: 'TCP' }],
    endpoints: [{ addresses: [nodeAddress], conditions: { ready: true } }],
  });
}

async function main(): Promise<void> {
  const api = new ApiServer({
    stateFile: join(state, 'objects.db'),
    servicePrefix: '10.96',
    fixedServices: { 'default/kubernetes': apiServiceAddress, 'kube-system/kube-dns': dnsAddress },
    names: {
      dns: [
        'localhost',
        'kubernetes',
        'kubernetes.default',
        'kubernetes.default.svc',
        'kubernetes.default.svc.cluster.local',
      ],
      ips: ['127.0.0.1', nodeAddress, apiServiceAddress],
    },
    log,
  });
  const { objects } = api;
  await api.bootstrap();
  await ensureNode(objects);
  await ensureApiEndpoint(objects);
  writeKubeconfig(api);

  const supervisor = connectSupervisor();
  const services = keepServices(objects, log);
  const stopPublishing = keepPublished(objects, supervisor.publish);
  const stopDns = await serveDns(objects, supervisor.resolve, dnsAddress, log);
  const runtime = new Runtime({
    objects,
    paths: { state, run },
    programs: import.meta.dirname,
    addresses: new AddressPool(),
    images: new LocalImages({ state, run }),
    token: async ({ audience, ...request }) => {
      const { token } = await api.issueToken({ ...request, audiences: audience === undefined ? [] : [audience] });
      return token;
    },
    nodeName,
    log,
  });
  api.setRuntime(runtime);
  await services.settled;
  const stopControllers = startControllers(objects, {
    apiRoot: api.root,
    namespacedTypes: () => api.namespacedTypes(),
    log,
  });
  runtime.start();
  await api.listen({ host: nodeAddress, port: nodeApiPort });
  await api.listen({ fd: inheritedSocket });

  const stop = (): void => {
    runtime.release();
    stopControllers();
    stopPublishing();
    stopDns();
    services.stop();
    api.close();
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  // Without its supervisor there is no way out of the mesh; the next one starts its own daemon.
  process.once('disconnect', stop);
  writeFileSync(join(run, 'ready'), '');
  tell({ type: 'ready' });
}

interface Supervisor {
  resolve: (query: Buffer) => Promise<Buffer>;
  publish: (publications: Extract<FromDaemon, { type: 'publish' }>['publications']) => Promise<Record<string, string>>;
}

/** What the supervisor does for the daemon, as calls. */
function connectSupervisor(): Supervisor {
  const questions = new Map<number, PromiseWithResolvers<Buffer>>();
  const publishing: PromiseWithResolvers<Record<string, string>>[] = [];
  let next = 0;
  process.on('message', (message: ToDaemon) => {
    if (message.type === 'published') return publishing.shift()?.resolve(message.problems);
    const asked = questions.get(message.id);
    questions.delete(message.id);
    if (message.reply === undefined) asked?.reject(new Error('no resolver of this machine answered'));
    else asked?.resolve(Buffer.from(message.reply, 'base64'));
  });
  return {
    resolve: (query) => {
      const asked = Promise.withResolvers<Buffer>();
      questions.set(++next, asked);
      tell({ type: 'dns', id: next, query: query.toString('base64') });
      return asked.promise;
    },
    publish: (publications) => {
      const asked = Promise.withResolvers<Record<string, string>>();
      publishing.push(asked);
      tell({ type: 'publish', publications });
      return asked.promise;
    },
  };
}

main().catch((error: Error & { code?: string; fix?: string }) => {
  log(error.stack ?? error.message);
  const failure = {
    code: error.fix ? (error.code ?? 'start-failed') : 'start-failed',
    message: error.message,
    fix: error.fix ?? `Read ${join(run, 'daemon.log')}.`,
  };
  tell({ type: 'failed', failure });
  setTimeout(() => process.exit(1), 50);
});
