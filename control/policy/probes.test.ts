import { expect, test } from 'vitest';
import { keptPod } from '../cluster/kept.ts';
import { podProbes } from './probes.ts';

const pod = (containers: object[], initContainers: object[] = []) =>
  keptPod({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web' },
    spec: { containers, initContainers },
    status: {},
  });

test('probes over HTTP and gRPC are found, of all containers, each once', () => {
  const http = { path: '/healthz', port: 'http' };
  const web = {
    name: 'web',
    ports: [{ name: 'http', containerPort: 8080 }],
    livenessProbe: { httpGet: http, periodSeconds: 5 },
    readinessProbe: { httpGet: http },
    startupProbe: { httpGet: { path: 'up?deep=1', port: 8080 } },
  };
  const grpc = { name: 'grpc', livenessProbe: { grpc: { port: 9000, service: 'a' } } };
  const sidecar = { name: 'sidecar', readinessProbe: { httpGet: { port: 7000 } } };
  expect(podProbes(pod([web, grpc], [sidecar]))).toEqual([
    { port: 8080, path: '/healthz' },
    { port: 8080, path: '/up?deep=1' },
    { port: 9000, path: '/grpc.health.v1.Health/Check' },
    { port: 7000, path: '/' },
  ]);
});

test('a probe that names itself is known by that name alone', () => {
  const headers = [
    { name: 'X-Token', value: 'secret' },
    { name: 'User-Agent', value: 'checker/1' },
  ];
  const one = pod([{ name: 'web', livenessProbe: { httpGet: { path: '/', port: 80, httpHeaders: headers } } }]);
  expect(podProbes(one)).toEqual([{ port: 80, path: '/', agent: 'checker/1' }]);
  // Nothing else of its headers is kept: they may be secret.
  expect(JSON.stringify(one)).not.toContain('secret');
});

test('those that are no traffic to tell apart are left out: TLS, TCP, commands, and those of the proxy', () => {
  const proxy = { name: 'mesh-proxy', readinessProbe: { httpGet: { path: '/ready', port: 4191 } } };
  const containers = [
    { name: 'a', livenessProbe: { httpGet: { path: '/', port: 443, scheme: 'HTTPS' } } },
    { name: 'b', livenessProbe: { tcpSocket: { port: 80 } }, readinessProbe: { exec: { command: ['true'] } } },
    { name: 'c', livenessProbe: { httpGet: { path: '/', port: 'unknown' } } },
    { name: 'd' },
  ];
  expect(podProbes(pod(containers, [proxy]))).toEqual([]);
});
