import { generateKeyPairSync } from 'node:crypto';
import https from 'node:https';
import { expect, test } from 'vitest';
import { resources } from '../../kube/resources.ts';
import type { Json } from '../../kube/types.ts';
import { makeCertificate } from '../../protocol/x509.ts';
import { map, maps, merge, useServer } from './test-server.ts';

const server = useServer();
const { call } = server;

/** A webhook on loopback behind a service of that address, answering as `answer` says. */
async function webhook(
  answer: (review: Json) => object | undefined,
  failurePolicy: string,
  options: { kind?: string; operations?: string[]; timeoutSeconds?: number } = {},
): Promise<() => void> {
  const { kind = 'MutatingWebhookConfiguration', operations = ['CREATE'], timeoutSeconds = 10 } = options;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const certificate = makeCertificate({
    subject: 'hook',
    publicKey,
    issuer: { subject: 'hook', publicKey, privateKey },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 600_000),
    names: { dns: ['hook.default.svc'], ips: [] },
  });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const hook = https.createServer({ key, cert: certificate }, (request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk));
    request.on('end', () => {
      const review = JSON.parse(text) as Json;
      const given = answer(review);
      if (given) response.end(JSON.stringify({ ...review, response: { uid: review.request.uid, ...given } }));
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  const address = hook.address() as { port: number };
  await server.api.objects.create(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'hook', namespace: 'default' },
    spec: { clusterIP: '127.0.0.1', ports: [{ port: address.port }] },
  });
  await call('POST', `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind,
    metadata: { name: 'hook' },
    webhooks: [
      {
        name: 'hook.mesh.dev',
        failurePolicy,
        timeoutSeconds,
        clientConfig: {
          service: { name: 'hook', namespace: 'default', port: address.port, path: '/mutate' },
          caBundle: Buffer.from(certificate).toString('base64'),
        },
        rules: [{ operations, apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
        objectSelector: { matchExpressions: [{ key: 'skip', operator: 'DoesNotExist' }] },
      },
    ],
  });
  return () => {
    hook.close();
    hook.closeAllConnections();
  };
}

test('a webhook changes what it selects, by a JSON patch', async () => {
  const patch = Buffer.from(JSON.stringify([{ op: 'add', path: '/data', value: { by: 'hook' } }])).toString('base64');
  const close = await webhook(() => ({ allowed: true, patchType: 'JSONPatch', patch }), 'Fail');
  expect((await call('POST', maps, map('a'))).lines[0].data).toEqual({ by: 'hook' });
  expect((await call('POST', maps, map('b', { skip: 'yes' }))).lines[0].data).toBeUndefined();
  close();
});

test('a webhook that refuses, and one that is gone under failurePolicy Fail, stop the object', async () => {
  const close = await webhook(() => ({ allowed: false, status: { message: 'no maps today' } }), 'Fail');
  const refused = await call('POST', maps, map('a'));
  expect([refused.status, refused.lines[0].message]).toEqual([403, expect.stringContaining('no maps today')]);
  close();
  const failed = await call('POST', maps, map('a'));
  expect([failed.status, failed.lines[0].message]).toEqual([500, expect.stringContaining('failed calling webhook')]);
  expect(server.api.objects.get(resources.configMaps, 'a', 'default')).toBeUndefined();
});

test('a webhook that does not answer in time stops the object or not, as its policy says', async () => {
  const close = await webhook(() => undefined, 'Fail', { timeoutSeconds: 1 });
  const failed = await call('POST', maps, map('a'));
  expect([failed.status, failed.lines[0].message]).toEqual([
    500,
    'Internal error occurred: failed calling webhook "hook.mesh.dev": no answer within 1 s',
  ]);
  const patch = JSON.stringify([{ op: 'replace', path: '/webhooks/0/failurePolicy', value: 'Ignore' }]);
  const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook';
  await call('PATCH', path, JSON.parse(patch) as object, { 'content-type': 'application/json-patch+json' });
  expect((await call('POST', maps, map('a'))).status).toBe(201);
  close();
});

test('a validating webhook sees changes and deletions with what was there before, and can refuse them', async () => {
  const seen: string[] = [];
  const judge = ({ request }: Json) => {
    const { operation, object, oldObject } = request;
    seen.push(`${operation} ${oldObject?.data?.x ?? '-'} ${object?.data?.x ?? '-'}`);
    return { allowed: object?.data?.x !== 'bad', status: { message: 'bad is bad', code: 422, reason: 'Invalid' } };
  };
  const close = await webhook(judge, 'Fail', {
    kind: 'ValidatingWebhookConfiguration',
    operations: ['CREATE', 'UPDATE', 'DELETE'],
  });
  await call('POST', maps, { ...map('a'), data: { x: '1' } });
  const refused = await call('PATCH', `${maps}/a`, { data: { x: 'bad' } }, merge);
  expect([refused.status, refused.lines[0].message]).toEqual([
    422,
    'admission webhook "hook.mesh.dev" denied the request: bad is bad',
  ]);
  await call('PATCH', `${maps}/a`, { data: { x: '2' } }, merge);
  await call('DELETE', `${maps}/a`);
  expect(seen).toEqual(['CREATE - 1', 'UPDATE 1 bad', 'UPDATE 1 2', 'DELETE 2 -']);
  expect(server.api.objects.get(resources.configMaps, 'a', 'default')).toBeUndefined();
  close();
});
