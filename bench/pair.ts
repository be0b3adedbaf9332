/** A pair of proxies under test in pods: nginx and the server's proxy in one, the client's proxy in the other. */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { resources } from '../kube/resources.ts';
import { proxyContainer } from '../protocol/names.ts';
import type { LocalMesh } from '../test/support/local-mesh.ts';
import { type PodObject, until } from '../test/support/mesh.ts';
import { makeCertificates } from './certificates.ts';
import { nginxConf, writeFiles } from './nginx.ts';
import { direct } from './peers/direct.ts';
import { mesh as ownPeer } from './peers/mesh.ts';
import { clientPort, originPort, type Peer, type Protocol } from './peers/peer.ts';
import { podOf } from './pod.ts';

export interface Pair {
  peer: Peer;
  /** What the load generator in the client's pod asks for. */
  url: string;
  client: PodObject;
  server: PodObject;
  /** Mounted at /bench in both pods. */
  folder: string;
  /** Processes of the client's and the server's proxy; none without proxies. */
  proxies: [number, number] | [];
}

/** Deploys the pair and waits until it answers. */
export async function deploy(peer: Peer, mesh: LocalMesh, protocol: Protocol): Promise<Pair> {
  const name = peer.name.toLowerCase();
  const folder = path.join(mesh.home, `bench-${name}`);
  await mkdir(folder, { mode: 0o755 });
  await makeCertificates(folder);
  const write = (files: Record<string, string>) =>
    Promise.all(Object.entries(files).map(([file, content]) => writeFile(path.join(folder, file), content)));
  await write({ 'nginx.conf': nginxConf([originPort, protocol]), ...peer.files('127.0.0.1', protocol) });
  await writeFiles(folder);
  // Programs in pods are not root's.
  await execa('chmod', ['-R', 'a+rX', mesh.home]);

  const isOwn = peer === ownPeer;
  const up = async (role: string, main: string[], proxy: string[]): Promise<PodObject> => {
    const commands = { main, ...(proxy.length > 0 ? { proxy } : {}) };
    await mesh.apply(podOf(`${name}-${role}`, folder, commands), isOwn);
    return (await mesh.ready(`${name}-${role}`))[0]!;
  };
  const server = await up('server', ['nginx', '-e', 'stderr', '-c', '/bench/nginx.conf'], peer.server);
  await write(peer.files(server.status.podIP, protocol));
  const client = await up('client', ['sleep', 'infinity'], peer.client);
  const address = async (): Promise<string> => {
    if (isOwn) return serviceAddress(mesh, name);
    return peer === direct ? `${server.status.podIP}:${originPort}` : `127.0.0.1:${clientPort}`;
  };
  const pair: Pair = {
    peer,
    url: `http://${await address()}/`,
    ...{ client, server, folder },
    proxies: [],
  };
  if (peer !== direct) {
    const container = isOwn ? proxyContainer : 'proxy';
    pair.proxies = [mesh.pid(client, container), mesh.pid(server, container)];
  }
  const http2 = protocol === 'http2' ? ['--http2-prior-knowledge'] : [];
  const get = ['curl', ...http2, '-s', '-m', '2', '-o', '/dev/null', '-w', '%{http_code}', pair.url];
  await until(`${peer.name} answers`, async () => (await mesh.exec(client, ...get).catch(() => '')) === '200');
  return pair;
}

async function serviceAddress(mesh: LocalMesh, name: string): Promise<string> {
  const service = await mesh.client.create(resources.services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'origin', namespace: 'default' },
    spec: { selector: { app: `${name}-server` }, ports: [{ port: 80, targetPort: originPort }] },
  });
  return (service as typeof service & { spec: { clusterIP: string } }).spec.clusterIP;
}
