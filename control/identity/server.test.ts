import { generateKeyPairSync } from 'node:crypto';
import https from 'node:https';
import { expect, test } from 'vitest';
import { makeRequest } from '../../protocol/x509.ts';
import { FakeKube } from '../fake-kube.ts';
import { addToken, config, day, listen, log, makeAuthority } from '../test-parts.ts';
import { makeOwnCertificate } from './own-certificate.ts';
import { IdentityServer } from './server.ts';

const csr = makeRequest(
  generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  'spiffe://cluster.local/ns/shop/sa/web',
);

test.each([
  ['a good request', JSON.stringify({ token: 'good', csr }), 200, undefined],
  ['a bad token', JSON.stringify({ token: 'bad', csr }), 401, 'token-refused'],
  ['another identity', JSON.stringify({ token: 'cart', csr }), 403, 'identity-mismatch'],
  ['no JSON', 'hello', 400, 'bad-request'],
  ['no token', JSON.stringify({ csr }), 400, 'bad-request'],
  ['too large a body', 'x'.repeat(70_000), 413, 'too-large'],
])('%s is answered over TLS', async (_what, body, status, code) => {
  const kube = new FakeKube();
  addToken(kube, 'good', 'web');
  addToken(kube, 'cart', 'cart');
  const authority = await makeAuthority(kube);
  const options = { kube, authority, trustDomain: 'cluster.local', lifetimeMs: day, log };
  const identity = new IdentityServer(options, makeOwnCertificate(authority, config));
  const port = await listen(identity.server);
  const answer = await new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
    const request = https.request(
      {
        host: '127.0.0.1',
        port,
        path: '/v1/certificates',
        method: 'POST',
        ca: authority.trustBundle,
        servername: 'mesh-control.mesh-system.svc',
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode, text }));
      },
    );
    request.on('error', reject).end(body);
  });
  identity.server.close();
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.text).code).toBe(code);
});
