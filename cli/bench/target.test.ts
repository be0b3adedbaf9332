import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubeClient } from '../../kube/client.ts';
import { connectKube } from '../connect.ts';
import type { CliError } from '../errors.ts';
import { fakeTerminal } from '../fake-terminal.ts';
import { TestCluster } from '../test-cluster.ts';
import { findTarget, parseTarget } from './target.ts';

const refusal = (text: string, flags = {}): string => {
  try {
    parseTarget(text, flags);
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
};

describe('what to measure', () => {
  test('is a deployment with port and path', () => {
    const flags = { port: '8080', path: '/a?b=1' };
    expect(parseTarget('deploy/web', flags)).toEqual({ deployment: 'web', port: 8080, path: '/a?b=1' });
    expect(parseTarget('deployment/web', {})).toEqual({ deployment: 'web', port: undefined, path: '/' });
  });

  test.each([
    ['http://web', undefined, 80, '/', 'web'],
    ['http://web:8080/a?b=1', undefined, 8080, '/a?b=1', 'web:8080'],
    ['http://web.shop/', 'shop', 80, '/', 'web.shop'],
    ['http://web.shop.svc:81', 'shop', 81, '/', 'web.shop.svc:81'],
    ['http://web.shop.svc.cluster.local', 'shop', 80, '/', 'web.shop.svc.cluster.local'],
  ])('is what clients of a service ask for: %s', (url, namespace, port, path, authority) => {
    expect(parseTarget(url, {})).toEqual({ service: 'web', namespace, port, path, authority });
  });

  test.each([
    ['https://web/', {}, 'is not an http:// URL'],
    ['http://10.0.0.1/', {}, 'is not the name of a service'],
    ['http://web.shop.example.com/', {}, 'is not the name of a service'],
    ['http://web/', { path: '/a' }, '--port and --path are for deploy/NAME'],
    ['deploy/web', { port: '0' }, '--port "0" is not a whole number from 1 to 65535'],
    ['deploy/web', { path: 'a b' }, '--path "a b" is not a path'],
    ['sts/db', {}, 'is not a deployment'],
    ['web', {}, 'is not TYPE/NAME'],
  ])('%s %j is refused with the reason', (text, flags, reason) => {
    expect(refusal(text, flags)).toContain(reason);
  });
});

describe('in a cluster', () => {
  let cluster: TestCluster;
  let kube: KubeClient;
  beforeAll(async () => {
    cluster = await TestCluster.start();
    kube = await connectKube({ kubeconfig: cluster.kubeconfig, namespace: 'shop' }, fakeTerminal().io);
    const metadata = (name: string) => ({ name, namespace: 'shop' });
    await cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
    for (const [name, labels, ports] of [
      ['web', { app: 'web', tier: 'front' }, [8080]],
      ['old', { app: 'two' }, [1, 2]],
      ['new', { app: 'two' }, []],
    ] as const) {
      const containers = [{ name: 'main', image: 'a', ports: ports.map((containerPort) => ({ containerPort })) }];
      const spec = { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } };
      await cluster.create({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: metadata(name), spec });
    }
    const annotations = { 'config.mesh.dev/opaque-ports': '9', note: 'none of ours' };
    const port = { port: 80, targetPort: 'http', appProtocol: 'http' };
    for (const [name, app] of ['web', 'two', 'none'].map((one) => [one, one]))
      await cluster.create({
        ...{ apiVersion: 'v1', kind: 'Service', metadata: { ...metadata(name!), annotations } },
        spec: { selector: { app }, ports: [port] },
      });
  });
  afterAll(async () => {
    kube.close();
    await cluster.close();
  });

  const problem = (text: string, flags = {}) =>
    findTarget(kube, parseTarget(text, flags)).then(
      () => 'none',
      (error: CliError) => `${error.code}: ${error.message}`,
    );

  test('a URL finds the deployment behind the service, its port and the settings that count for it', async () => {
    const target = await findTarget(kube, parseTarget('http://web.shop/a', {}));
    expect(target.deployment.metadata.name).toBe('web');
    expect(target).toMatchObject({
      namespace: 'shop',
      port: { port: 80, targetPort: 'http', appProtocol: 'http' },
      serviceAnnotations: { 'config.mesh.dev/opaque-ports': '9' },
      path: '/a',
      authority: 'web.shop',
    });
    expect(target.serviceAnnotations).not.toHaveProperty('note');
  });

  test('a deployment with one port needs no flag for it', async () => {
    expect(await findTarget(kube, parseTarget('deploy/web', {}))).toMatchObject({
      port: { port: 8080, targetPort: 8080 },
      path: '/',
      authority: undefined,
    });
  });

  test.each([
    ['deploy/wbe', 'not-found: There is no deployment wbe in namespace shop'],
    ['deploy/old', 'usage: deploy/old has ports 1, 2'],
    ['deploy/new', 'usage: deploy/new names no port'],
    ['http://web.shop:81/', 'not-found: There is no port 81 of service web in namespace shop; it has 80'],
    [
      'http://two/',
      'cannot-bench: Several deployments are behind service two in namespace shop: deploy/new, deploy/old',
    ],
    ['http://none/', 'cannot-bench: No deployment is behind service none in namespace shop'],
  ])('%s: %s', async (text, said) => {
    expect(await problem(text)).toContain(said);
  });
});
