/**
 * The cluster of `npm run bench:control`, a process of its own: the local mesh's API server with every object of the
 * bench, and no controllers. It is told by its parent to change endpoints, and says when it did.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import { ApiServer } from '../../local/api/server.ts';
import {
  controlName,
  controlNamespace,
  defaultTrustDomain,
  imageRepository,
  tokenAudience,
} from '../../protocol/names.ts';
import { apiPort } from '../../protocol/ports.ts';
import { version } from '../../protocol/version.ts';
import { renderInstall } from '../../templates/index.ts';
import { Churn } from './churn.ts';
import type { ApiMessage, ApiReady } from './messages.ts';
import {
  accountObject,
  namespaceName,
  namespaceObject,
  podObject,
  type Size,
  serviceObject,
  servicesOf,
  sliceObject,
} from './world.ts';

const tokenSeconds = 12 * 3600;
const size = JSON.parse(process.argv[2]!) as Size;
const services = servicesOf(size);

const api = new ApiServer({
  stateFile: ':memory:',
  servicePrefix: '10.96',
  fixedServices: { 'default/kubernetes': '10.96.0.1' },
  names: { dns: ['localhost'], ips: ['127.0.0.1'] },
  log: (message) => process.stderr.write(`api: ${message}\n`),
});
await api.bootstrap();
// `mesh stat` reaches the control plane as it does in a cluster; only that its pod is this machine.
api.setRuntime({
  logs: () => {
    throw new Error('the bench has no logs');
  },
  exec: () => Promise.reject(new Error('the bench has no containers')),
  connect: async (_namespace, _pod, port) => connect(port, '127.0.0.1'),
  stats: () => ({ pods: [] }),
});

async function create(object: KubeObject): Promise<void> {
  const type = Object.values(resources).find((one) => one.kind === object.kind)!;
  await api.objects.create(type, object);
  const { name, namespace } = object.metadata;
  if (object.status) await api.objects.updateStatus(type, name!, namespace, () => object.status);
}

const own = {
  ...{ image: `${imageRepository}:${version}`, version, namespace: controlNamespace },
  trustDomain: defaultTrustDomain,
};
for (const object of renderInstall({ ...own, ha: false, imagePullSecrets: [], controlEnv: {} })) await create(object);
await create(controlPod());
for (let index = 0; index < Math.min(size.namespaces, size.services); index++)
  await create(namespaceObject(namespaceName(size, index)));
const churn = new Churn(api.objects, services);
for (const service of services) {
  await create(accountObject(service));
  await create(serviceObject(service));
  for (const { name, ip } of service.pods) await create(podObject(service, name, ip));
  await create(sliceObject(service, churn.endpointsOf(service)));
}

const issue = async (namespace: string, serviceAccount: string, audiences: string[]): Promise<string> =>
  (await api.issueToken({ namespace, serviceAccount, audiences, seconds: tokenSeconds })).token;
const { port } = await api.listen({ host: '127.0.0.1', port: 0 });
const ready: ApiReady = {
  port,
  root: api.root,
  adminToken: api.adminToken,
  controlToken: await issue(controlNamespace, controlName, []),
  proxyTokens: await Promise.all(services.map(({ name, namespace }) => issue(namespace, name, [tokenAudience]))),
};
process.send!(ready);
process.on('message', (message: ApiMessage) => {
  void churn.change(message.number).then((changed) => process.send!(changed));
});
process.on('disconnect', () => process.exit(0));

/** As `mesh stat` looks for it. */
function controlPod(): KubeObject {
  const labels = { 'app.kubernetes.io/name': controlName };
  const containers = [{ name: controlName, image: own.image, ports: [{ name: 'api', containerPort: apiPort }] }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: readFileSync('/proc/sys/kernel/hostname', 'utf8').trim(), namespace: controlNamespace, labels },
    spec: { serviceAccountName: controlName, containers },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  };
}
