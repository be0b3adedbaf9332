import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { injectAnnotation } from '../../protocol/names.ts';
import { deployment, isMeshed, script, service, TestCluster } from '../support/cluster.ts';
import { isReady, until } from '../support/mesh.ts';

const namespace = 'mesh-test-workloads';

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
  spec: { terminationGracePeriodSeconds: 2, ...spec },
});

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

  it('is reached pod by pod, as a StatefulSet behind a headless service', async () => {
    const labels = { app: 'member' };
    await cluster.apply(service(namespace, 'member', 8080, { clusterIP: 'None' }), {
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
          spec: {
            terminationGracePeriodSeconds: 2,
            containers: [script('main', server, { readinessProbe: tcp(8080) })],
          },
        },
      },
    });
    await cluster.ready(namespace, 'member', 3);
    const members = [0, 1, 2].map((index) => `member-${index}`);
    const source = members.map((member) => ask(`http://${member}.member:8080`)).join('\n');
    await cluster.apply(pod({ restartPolicy: 'Never', containers: [script('main', source)] }, 'asker'));
    await until(
      'each member was asked',
      async () => (await cluster.client.get(resources.pods, 'asker', namespace)).status?.phase === 'Succeeded',
      60,
    );
    expect((await cluster.log(namespace, 'asker', 'main')).trim().split('\n')).toEqual(
      members.map((member) => `answer ${member}`),
    );
  });

  it('has the network in each of its own init containers, before the application', async () => {
    const inits = ['first', 'second', 'third'].map((name) => script(name, ask('http://server:8080')));
    await cluster.apply(
      pod(
        { restartPolicy: 'Never', initContainers: inits, containers: [script('main', 'console.log("up")')] },
        'patient',
      ),
    );
    const done = await until(
      'the pod succeeded',
      async () => {
        const found = await cluster.client.get(resources.pods, 'patient', namespace);
        if (found.status?.phase === 'Failed') throw new Error('the pod failed');
        return found.status?.phase === 'Succeeded' && found;
      },
      90,
    );
    expect(done.spec.initContainers.map((one: Json) => one.name)).toEqual([
      'mesh-init',
      'mesh-proxy',
      'first',
      'second',
      'third',
    ]);
    for (const name of ['first', 'second', 'third']) {
      expect(await cluster.log(namespace, 'patient', name)).toContain('answer server-');
    }
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

describe('a probe of a meshed pod', () => {
  /** Speaks HTTP on 8080, gRPC's health protocol on 9090 and keeps a file for exec; unwell after a GET /break. */
  const probed = `
import { createServer } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { rmSync, writeFileSync } from 'node:fs';
let well = true;
writeFileSync('/tmp/well', '');
createServer((request, response) => {
  if (request.url === '/break') { well = false; rmSync('/tmp/well', { force: true }); }
  response.writeHead(request.url === '/break' || well ? 200 : 500).end();
}).listen(8080);
createHttp2().on('stream', (stream) => {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, well ? 1 : 2]));
}).listen(9090);`;
  const exec = { command: ['/opt/mesh/node', '-e', 'require("fs").accessSync("/tmp/well")'] };
  const probes: Record<string, Json> = {
    http: { httpGet: { path: '/', port: 8080 } },
    tcp: { tcpSocket: { port: 8080 } },
    grpc: { grpc: { port: 9090 } },
    exec: { exec },
  };
  const volume = { volumes: [{ name: 'tmp', emptyDir: {} }] };
  const mounts = { volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }] };

  it.each(['http', 'grpc', 'exec'])('finds the application well, then unwell: %s', async (kind) => {
    const name = `probed-${kind}`;
    const probe = { ...probes[kind], periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10 };
    await cluster.apply(
      ...deployment(namespace, name, {
        containers: [
          script('main', probed, {
            ...mounts,
            startupProbe: { ...probe, failureThreshold: 60 },
            readinessProbe: probe,
          }),
        ],
        ...volume,
      }),
    );
    const [found] = await cluster.ready(namespace, name);
    expect(isMeshed(found!)).toBe(true);
    const source = ask(`http://${found!.status.podIP}:8080/break`).replace('response.text()', "'broken'");
    await cluster.apply(pod({ restartPolicy: 'Never', containers: [script('main', source)] }, `break-${kind}`));
    await until(
      `${name} is unwell`,
      async () => (await cluster.pods(namespace, `app=${name}`)).every((one) => !isReady(one)),
      60,
    );
    await cluster.client.delete(resources.deployments, name, namespace);
  });

  it('finds an open port open and a closed one closed: tcp', async () => {
    for (const [name, port] of [
      ['open', 8080],
      ['closed', 8081],
    ] as const) {
      const probe = { ...tcp(port), failureThreshold: 1 };
      await cluster.apply(
        ...deployment(namespace, name, {
          containers: [script('main', probed, { ...mounts, readinessProbe: probe })],
          ...volume,
        }),
      );
    }
    await cluster.ready(namespace, 'open');
    const [closed] = await until(
      'the other runs',
      async () => {
        const pods = await cluster.pods(namespace, 'app=closed');
        return pods.length === 1 && pods[0]!.status.containerStatuses?.[0]?.started && pods;
      },
      60,
    );
    await until('the kubelet says that its port is closed', async () => {
      const events = await cluster.client.list(resources.events, {
        namespace,
        fieldSelector: `involvedObject.name=${closed!.metadata.name}`,
      });
      return events.some((event) => event.reason === 'Unhealthy' && event.message.includes(':8081'));
    });
    expect(isReady((await cluster.pods(namespace, 'app=closed'))[0]!)).toBe(false);
  });
});
