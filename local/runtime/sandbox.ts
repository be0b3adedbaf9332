/** A pod's sandbox: network, host name and IPC namespaces, kept by a process that only sleeps. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { KubeObject } from '../../kube/types.ts';
import { clusterDomain, dnsAddress, nodeAddress } from '../network/addresses.ts';
import { attachPod } from '../network/node.ts';
import { isAlive, type ProcessIdentity, parseStat } from '../process.ts';
import { type PodFiles, quote, readRecord, replaceFile } from './files.ts';

export interface Sandbox {
  holder: ProcessIdentity;
  address: string;
}

/** The sandbox a pod still has from before, e.g. from an earlier daemon. */
export function findSandbox(files: PodFiles): Sandbox | undefined {
  const found = readRecord<Sandbox>(join(files.run, 'sandbox.json'));
  return found && isAlive(found.holder) ? found : undefined;
}

export async function makeSandbox(pod: KubeObject, address: string, files: PodFiles): Promise<Sandbox> {
  mkdirSync(files.run, { recursive: true });
  const hostname: string = pod.spec.hostname ?? pod.metadata.name!.slice(0, 63);
  replaceFile(join(files.run, 'hostname'), `${hostname}\n`, 0o644);
  replaceFile(join(files.run, 'hosts'), hostsFile(pod, hostname, address), 0o644);
  replaceFile(join(files.run, 'resolv.conf'), resolverFile(pod), 0o644);
  const stat = join(files.run, `holder.${Date.now()}`);
  const namespaces = pod.spec.hostNetwork ? ['--uts', '--ipc'] : ['--net', '--uts', '--ipc'];
  const child = spawn(
    'unshare',
    [
      ...namespaces,
      '--',
      '/bin/sh',
      '-c',
      `hostname ${quote(hostname)}; read -r stat < /proc/self/stat; echo "$stat" > ${quote(stat)}; exec sleep 2147483647`,
    ],
    { detached: true, stdio: 'ignore', cwd: '/' },
  );
  child.unref();
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const holder = await Promise.race([readIdentity(stat), failed]);
  const sandbox = { holder, address };
  replaceFile(join(files.run, 'sandbox.json'), JSON.stringify(sandbox));
  if (!pod.spec.hostNetwork) await attachPod(holder.pid, address);
  return sandbox;
}

async function readIdentity(file: string): Promise<ProcessIdentity> {
  for (const deadline = Date.now() + 5_000; Date.now() < deadline; await wait(3)) {
    const text = existsSync(file) ? readFileSync(file, 'latin1') : '';
    const parsed = text.endsWith('\n') ? parseStat(text) : undefined;
    if (parsed) return { pid: parsed.pid, start: parsed.start };
  }
  throw new Error('the pod’s namespaces were not made within 5 s');
}

function hostsFile(pod: KubeObject, hostname: string, address: string): string {
  const own = pod.spec.subdomain
    ? `${hostname}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}\t${hostname}`
    : hostname;
  const aliases = (pod.spec.hostAliases ?? []).map(
    (one: { ip: string; hostnames: string[] }) => `${one.ip}\t${one.hostnames.join('\t')}\n`,
  );
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${address || nodeAddress}\t${own}\n${aliases.join('')}`;
}

function resolverFile(pod: KubeObject): string {
  const { nameservers = [], searches = [], options = [] } = pod.spec.dnsConfig ?? {};
  const cluster = pod.spec.dnsPolicy !== 'None';
  const search = cluster
    ? [`${pod.metadata.namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain, ...searches]
    : searches;
  const extra = options.map((one: { name: string; value?: string }) =>
    one.value ? `${one.name}:${one.value}` : one.name,
  );
  // A second try after one second: the DNS server restarts with the daemon.
  const line = [...(cluster ? ['ndots:5', 'timeout:1', 'attempts:5'] : []), ...extra].join(' ');
  return [
    ...(search.length > 0 ? [`search ${search.join(' ')}`] : []),
    ...(cluster ? [dnsAddress, ...nameservers] : nameservers).map((address: string) => `nameserver ${address}`),
    ...(line ? [`options ${line}`] : []),
    '',
  ].join('\n');
}
