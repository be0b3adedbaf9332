import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import type { ProxyInfo } from '../../protocol/api.ts';
import { controlNamespace, injectAnnotation } from '../../protocol/names.ts';
import { deployment, isMeshed, script, service, TestCluster } from '../support/cluster.ts';
import { until } from '../support/mesh.ts';

const namespace = 'mesh-test-workloads';
const brief = { terminationGracePeriodSeconds: 2 };

/** Answers each request with the pod's name. */
const server = `
import { createServer } from 'node:http';
import { hostname } from 'node:os';
createServer((request, response) => response.end(hostname())).listen(8080);`;

/** Asks a URL until it answers, prints the answer, ends. */
const ask = (url: string) => `
for (;;) {
  const answer = await fetch('${url}').then((response) => response.ok && response.text(), () => undefined);
  if (answer) { console.log('answer ' + answer); break; }
  await new Promise((resolve) => setTimeout(resolve, 100));
}`;

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await TestCluster.connect();
  await cluster.install();
  await cluster.namespace(namespace, { [injectAnnotation]: 'enabled' });
  await cluster.apply(
    ...deployment(
      namespace,
      'server',
      { containers: [script('main', server, { readinessProbe: tcp(8080) })] },
      8080,
      2,
    ),
  );
  await cluster.ready(namespace, 'server', 2);
});
afterAll(async () => {
  await cluster.run(['uninstall', '--yes', '--force']);
  await cluster.close();
});

function tcp(port: number): Json {
  return { tcpSocket: { port }, periodSeconds: 1 };
}

const pod = (spec: Json, name: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels: { app: name } },
  spec: { ...brief, ...spec },
});

/** Runs a pod to its end and gives what a container of it printed. @throws Error where it failed */
async function outcome(object: KubeObject, container: string): Promise<string> {
  const name = object.metadata.name!;
  await cluster.apply(object);
  await until(
    `pod ${name} is done`,
    async () => {
      const { status } = await cluster.client.get(resources.pods, name, namespace);
      if (status?.phase === 'Failed') throw new Error(`${name}: ${await cluster.log(namespace, name, container)}`);
      return status?.phase === 'Succeeded';
    },
    90,
  );
  return cluster.log(namespace, name, container);
}

const jobSpec = (containers: Json[]) => ({
  backoffLimit: 0,
  template: { metadata: {}, spec: { restartPolicy: 'Never', containers } },
});

function finished(job: KubeObject | undefined): boolean {
  const conditions: Json[] = job?.status?.conditions ?? [];
  const failed = conditions.find((one) => one.type === 'Failed' && one.status === 'True');
  if (failed) throw new Error(`the job failed: ${failed.message}`);
  return conditions.some((one) => one.type === 'Complete' && one.status === 'True');
}

describe('a workload with the sidecar', () => {
  it('completes, as a Job', async () => {
    const metadata = { name: 'once', namespace };
    await cluster.apply({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata,
      spec: jobSpec([script('main', ask('http://server:8080'))]),
    });
    await until(
      'the job is complete',
      async () => finished(await cluster.client.get(resources.jobs, 'once', namespace)),
      90,
    );
    const [done] = await cluster.pods(namespace, 'job-name=once');
    expect(isMeshed(done!)).toBe(true);
    expect(await cluster.log(namespace, done!.metadata.name!, 'main')).toContain('answer server-');
  });

  it('completes, as a CronJob', async () => {
    await cluster.apply({
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'often', namespace },
      spec: {
        schedule: '* * * * *',
        concurrencyPolicy: 'Forbid',
        jobTemplate: { spec: jobSpec([script('main', ask('http://server:8080'))]) },
      },
    });
    const job = await until(
      'a job of the cron job is complete',
      async () => {
        const jobs = await cluster.client.list(resources.jobs, { namespace });
        return jobs.find((one) => one.metadata.name!.startsWith('often-') && finished(one));
      },
      120,
    );
    const [done] = await cluster.pods(namespace, `job-name=${job.metadata.name}`);
    expect(isMeshed(done!)).toBe(true);
    await cluster.client.delete(resources.cronJobs, 'often', namespace);
  });

  it('is reached member by member in mutual TLS, as a StatefulSet behind a headless service', async () => {
    const labels = { app: 'member' };
    await cluster.apply(
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'members', namespace } },
      service(namespace, 'member', 8080, { clusterIP: 'None' }),
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata: { name: 'member', namespace },
        spec: {
          serviceName: 'member',
          replicas: 3,
          podManagementPolicy: 'Parallel',
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            // No probe: the kubelet's connections, which no proxy made, would count among its traffic.
            spec: { serviceAccountName: 'members', ...brief, containers: [script('main', server)] },
          },
        },
      },
    );
    await cluster.ready(namespace, 'member', 3);
    const members = [0, 1, 2].map((index) => `member-${index}`);
    const source = members.map((member) => ask(`http://${member}.member:8080`)).join('\n');
    const said = await outcome(pod({ restartPolicy: 'Never', containers: [script('main', source)] }, 'asker'), 'main');
    expect(said.trim().split('\n')).toEqual(members.map((member) => `answer ${member}`));
    await until('each answered in mutual TLS', async () => {
      const rows = JSON.parse(await cluster.mesh(['stat', 'po', '-n', namespace, '-l', 'app=member', '-o', 'json']));
      const secured = (rows.items as Json[]).filter((row) => row.secured === 1).map((row) => row.name);
      return secured.sort().join() === members.join();
    });
    const [control] = await cluster.pods(controlNamespace);
    const { proxies } = await cluster.ask<{ proxies: ProxyInfo[] }>(control!.metadata.name!, '/v1/proxies');
    const identities = members.map((member) => proxies.find(({ pod: name }) => name === member)?.identity);
    expect(identities).toEqual(members.map(() => `spiffe://cluster.local/ns/${namespace}/sa/members`));
  });

  it('has the network in each of its own init containers and sidecars, from the first to the last', async () => {
    const helper = `
${ask('http://server:8080')}
process.on('SIGTERM', async () => {
  await fetch('http://server:8080').then((response) => console.log('parting ' + response.status));
  process.exit(0);
});
setInterval(() => {}, 1000);`;
    const initContainers = [
      script('first', ask('http://server:8080')),
      script('helper', helper, { restartPolicy: 'Always' }),
      script('second', ask('http://server:8080')),
      script('third', ask('http://server:8080')),
    ];
    const containers = [script('main', ask('http://server:8080'))];
    const inits = ['first', 'helper', 'second', 'third'];
    const spec = { restartPolicy: 'Never', terminationGracePeriodSeconds: 20, initContainers, containers };
    await outcome(pod(spec, 'patient'), 'main');
    const done = await cluster.client.get(resources.pods, 'patient', namespace);
    expect(done.spec.initContainers.map((one: Json) => one.name)).toEqual(['mesh-init', 'mesh-proxy', ...inits]);
    for (const name of [...inits, 'main'])
      expect(await cluster.log(namespace, 'patient', name)).toContain('answer server-');
    // Sidecars end in the order of their start turned round: the proxy outlives the others.
    expect(await cluster.log(namespace, 'patient', 'helper')).toContain('parting 200');
  });

  it('keeps the tokens that it asks for itself, whether or not it has one of the API server', async () => {
    const projected = { audience: 'vault', expirationSeconds: 900, path: 'vault' };
    const source = `
import { existsSync, readFileSync } from 'node:fs';
const claims = (path) => JSON.parse(Buffer.from(readFileSync(path, 'utf8').split('.')[1], 'base64url'));
const { aud, exp, iat, sub } = claims('/vault/vault');
const own = '/var/run/secrets/kubernetes.io/serviceaccount/token';
let status = 'no token';
if (existsSync(own)) {
  const { request } = await import('node:https');
  const headers = { authorization: 'Bearer ' + readFileSync(own, 'utf8') };
  const ca = readFileSync('/var/run/secrets/kubernetes.io/serviceaccount/ca.crt');
  status = await new Promise((resolve, reject) => request('https://kubernetes.default.svc/version', { headers, ca },
    (response) => resolve(response.resume().statusCode)).on('error', reject).end());
}
console.log(JSON.stringify({ aud, seconds: exp - iat, sub, status, mesh: existsSync('/var/run/mesh') }));`;
    const answers: Json = {};
    for (const automount of [true, false]) {
      const name = automount ? 'with-api-token' : 'without-api-token';
      const mount = { volumeMounts: [{ name: 'vault', mountPath: '/vault' }] };
      const spec = {
        restartPolicy: 'Never',
        automountServiceAccountToken: automount,
        containers: [script('main', source, mount)],
        volumes: [{ name: 'vault', projected: { sources: [{ serviceAccountToken: projected }] } }],
      };
      answers[name] = JSON.parse(await outcome(pod(spec, name), 'main'));
      expect(isMeshed(await cluster.client.get(resources.pods, name, namespace))).toBe(true);
    }
    const own = { aud: ['vault'], seconds: 900, sub: `system:serviceaccount:${namespace}:default`, mesh: false };
    expect(answers).toEqual({
      'with-api-token': { ...own, status: 200 },
      'without-api-token': { ...own, status: 'no token' },
    });
  });
});

describe('a pod that the mesh has no business with', () => {
  it('is left alone: in the network of its node', async () => {
    await cluster.apply(
      pod({ hostNetwork: true, containers: [script('main', 'setInterval(() => {}, 1000)')] }, 'host'),
    );
    const [host] = await cluster.ready(namespace, 'host');
    expect(isMeshed(host!)).toBe(false);
    expect(host!.spec.containers).toHaveLength(1);
    expect(host!.spec.initContainers).toBeUndefined();
    expect(await cluster.mesh(['check', '--proxy'])).toContain('results are ✓');
  });

  it('is left alone: in kube-system, even where it asks for a proxy', async () => {
    const name = 'mesh-test-bystander';
    await cluster.client.create(resources.pods, {
      ...pod({ containers: [script('main', 'setInterval(() => {}, 1000)')] }, name),
      metadata: { name, namespace: 'kube-system', annotations: { [injectAnnotation]: 'enabled' } },
    });
    try {
      const created = await cluster.client.get(resources.pods, name, 'kube-system');
      expect(created.spec.initContainers).toBeUndefined();
    } finally {
      await cluster.client.delete(resources.pods, name, 'kube-system', { gracePeriodSeconds: 0 });
    }
  });
});
