import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import { Cluster } from '../cluster/index.ts';
import { FakeKube } from '../fake-kube.ts';
import { createLog } from '../log.ts';
import { service } from '../test-parts.ts';
import { AnnotationReporter } from './annotations.ts';

const log = createLog('error', () => {});

test('a Service whose annotations do not hold gets one event for each state of them', async () => {
  const kube = new FakeKube();
  const cluster = new Cluster(kube);
  const put = (annotations: Record<string, string>) => {
    const changed = service('10.96.0.7');
    changed.metadata.uid = 'u';
    changed.metadata.annotations = annotations;
    kube.put(resources.services, changed);
  };
  const reporter = new AnnotationReporter(kube, cluster, log);
  put({ 'config.mesh.dev/retry': '5xx', 'config.mesh.dev/opaque-ports': '3306' });
  await reporter.report();
  expect(await kube.list(resources.events)).toEqual([]);
  put({ 'config.mesh.dev/retry': 'sometimes', 'config.mesh.dev/timeout': '1s' });
  await reporter.report();
  await reporter.report();
  // Another replica.
  await new AnnotationReporter(kube, cluster, log).report();
  const about = { kind: 'Service', namespace: 'shop', name: 'web', uid: 'u' };
  const event = { type: 'Warning', reason: 'BadAnnotation', involvedObject: about };
  expect(await kube.list(resources.events)).toMatchObject([
    {
      ...event,
      message: expect.stringMatching(/timeout is no setting; .*retry: "sometimes" is not a status/),
    },
  ]);
  put({ 'config.mesh.dev/timeout-idle': 'long' });
  await reporter.report();
  expect(await kube.list(resources.events)).toMatchObject([
    event,
    { ...event, message: 'config.mesh.dev/timeout-idle: "long": it is not a duration such as 500ms, 2s or 1m' },
  ]);
});
