/** Volumes of a pod, as folders of this machine that its containers get bound in. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { ConfigError, fieldOf, quantity, resourceOf } from './environment.ts';
import type { PodFiles } from './files.ts';

/** Makes a token for a pod's service account; expires after `seconds`. */
export type TokenSource = (request: {
  namespace: string;
  serviceAccount: string;
  audience: string | undefined;
  seconds: number;
  pod: { name: string; uid: string };
}) => Promise<string>;

export interface VolumeContext {
  objects: Objects;
  token: TokenSource;
  node: { name: string; address: string };
}

interface Item {
  content: Buffer;
  mode: number;
}

type Items = Map<string, Item>;

function addKeys(
  to: Items,
  source: KubeObject,
  kind: 'ConfigMap' | 'Secret',
  found: KubeObject | undefined,
  mode: number,
): void {
  const name = source.name ?? source.secretName;
  if (!found) {
    if (source.optional) return;
    throw new ConfigError(`${kind.toLowerCase()} "${name}" not found`);
  }
  const content = (key: string): Buffer | undefined => {
    if (found.binaryData?.[key] !== undefined) return Buffer.from(found.binaryData[key], 'base64');
    const value = found.data?.[key];
    return value === undefined ? undefined : Buffer.from(value, kind === 'Secret' ? 'base64' : 'utf8');
  };
  const keys = source.items ?? Object.keys({ ...found.data, ...found.binaryData }).map((key) => ({ key, path: key }));
  for (const item of keys) {
    const value = content(item.key);
    if (value) to.set(item.path, { content: value, mode: item.mode ?? mode });
    else if (!source.optional) throw new ConfigError(`references non-existent ${kind.toLowerCase()} key: ${item.key}`);
  }
}

function addFields(to: Items, items: KubeObject[], pod: KubeObject, node: VolumeContext['node'], mode: number): void {
  for (const item of items) {
    const text = item.fieldRef
      ? fieldOf(pod, item.fieldRef.fieldPath, node)
      : resourceOf(pod, undefined, item.resourceFieldRef);
    to.set(item.path, { content: Buffer.from(text), mode: item.mode ?? mode });
  }
}

/** Content of a volume that the API's objects make up; undefined for other kinds. Tokens are added by the caller's clock. */
async function itemsOf(
  context: VolumeContext,
  pod: KubeObject,
  volume: KubeObject,
  tokens: Map<string, { text: string; renew: number }>,
): Promise<Items | undefined> {
  const { objects, node } = context;
  const namespace = pod.metadata.namespace!;
  const made: Items = new Map();
  if (volume.configMap) {
    addKeys(
      made,
      volume.configMap,
      'ConfigMap',
      objects.get(resources.configMaps, volume.configMap.name, namespace),
      volume.configMap.defaultMode ?? 0o644,
    );
  } else if (volume.secret) {
    addKeys(
      made,
      volume.secret,
      'Secret',
      objects.get(resources.secrets, volume.secret.secretName, namespace),
      volume.secret.defaultMode ?? 0o644,
    );
  } else if (volume.downwardAPI) {
    addFields(made, volume.downwardAPI.items ?? [], pod, node, volume.downwardAPI.defaultMode ?? 0o644);
  } else if (volume.projected) {
    const mode = volume.projected.defaultMode ?? 0o644;
    for (const source of volume.projected.sources ?? []) {
      if (source.configMap)
        addKeys(
          made,
          source.configMap,
          'ConfigMap',
          objects.get(resources.configMaps, source.configMap.name, namespace),
          mode,
        );
      else if (source.secret)
        addKeys(made, source.secret, 'Secret', objects.get(resources.secrets, source.secret.name, namespace), mode);
      else if (source.downwardAPI) addFields(made, source.downwardAPI.items ?? [], pod, node, mode);
      else if (source.serviceAccountToken) {
        const { audience, expirationSeconds = 3600, path } = source.serviceAccountToken;
        const key = `${volume.name}/${path}`;
        let token = tokens.get(key);
        if (!token || token.renew < Date.now()) {
          const text = await context.token({
            namespace,
            serviceAccount: pod.spec.serviceAccountName ?? 'default',
            audience,
            seconds: expirationSeconds,
            pod: { name: pod.metadata.name!, uid: pod.metadata.uid! },
          });
          token = { text, renew: Date.now() + expirationSeconds * 800 };
          tokens.set(key, token);
        }
        made.set(path, { content: Buffer.from(token.text), mode: 0o644 });
      }
    }
  } else return undefined;
  return made;
}

/** Writes the items into a fresh folder and swaps the `..data` link to it, so that readers see all or nothing of a change. */
function publish(folder: string, items: Items, version: number, group: number | undefined): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const data = `..data_${version}_${process.pid}`;
  for (const [path, item] of items) {
    const file = join(folder, data, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, item.content, { mode: item.mode });
    chmodSync(file, group === undefined ? item.mode : item.mode | 0o440);
    if (group !== undefined) chownSync(file, 0, group);
  }
  mkdirSync(join(folder, data), { recursive: true, mode: 0o755 });
  rmSync(join(folder, '..data_new'), { force: true });
  symlinkSync(data, join(folder, '..data_new'));
  renameSync(join(folder, '..data_new'), join(folder, '..data'));
  const wanted = new Set([...items.keys()].map((path) => path.split('/')[0]!));
  const present = new Set(readdirSync(folder));
  for (const name of wanted) if (!present.has(name)) symlinkSync(join('..data', name), join(folder, name));
  for (const name of present) {
    if (name.startsWith('..data_') ? name !== data : name !== '..data' && !wanted.has(name))
      rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function sameItems(a: Items | undefined, b: Items): boolean {
  return (
    a?.size === b.size &&
    [...b].every(([path, item]) => a.get(path)?.content.equals(item.content) && a.get(path)?.mode === item.mode)
  );
}

const hostPathKinds: Record<string, (found: Stats) => boolean> = {
  Directory: (found) => found.isDirectory(),
  DirectoryOrCreate: (found) => found.isDirectory(),
  File: (found) => found.isFile(),
  FileOrCreate: (found) => found.isFile(),
  Socket: (found) => found.isSocket(),
  CharDevice: (found) => found.isCharacterDevice(),
  BlockDevice: (found) => found.isBlockDevice(),
};

function makeHostPath({ name, hostPath }: KubeObject): void {
  const { path, type = '' } = hostPath;
  if (type === 'DirectoryOrCreate') mkdirSync(path, { recursive: true });
  if (type === 'FileOrCreate') writeFileSync(path, '', { flag: 'a' });
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found)
    throw new ConfigError(`volume "${name}": ${path} is not on this machine (type DirectoryOrCreate would make it)`);
  if (type !== '' && !hostPathKinds[type]?.(found)) throw new ConfigError(`volume "${name}": ${path} is no ${type}`);
}

/** One in memory with a limit is a file system of its own; others share their pod's. */
function makeEmpty(
  folder: string,
  { medium, sizeLimit }: { medium?: string; sizeLimit?: string },
  group?: number,
): void {
  if (existsSync(folder)) return;
  mkdirSync(folder, { recursive: true });
  if (medium === 'Memory' && sizeLimit !== undefined) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(quantity(sizeLimit))}`, 'tmpfs', folder]);
  }
  if (group !== undefined) chownSync(folder, 0, group);
  chmodSync(folder, group === undefined ? 0o777 : 0o2777);
}

export class PodVolumes {
  readonly #context: VolumeContext;
  readonly #files: PodFiles;
  readonly #written = new Map<string, Items>();
  readonly #tokens = new Map<string, { text: string; renew: number }>();
  #version = Date.now();

  constructor(context: VolumeContext, files: PodFiles) {
    this.#context = context;
    this.#files = files;
  }

  /** Makes every volume, or brings those made of API objects up to date. Throws ConfigError where something is missing. */
  async write(pod: KubeObject): Promise<void> {
    for (const volume of pod.spec.volumes ?? []) {
      const folder = this.source(pod, volume.name);
      const items = await itemsOf(this.#context, pod, volume, this.#tokens);
      if (items) {
        if (sameItems(this.#written.get(volume.name), items)) continue;
        publish(folder, items, ++this.#version, pod.spec.securityContext?.fsGroup);
        this.#written.set(volume.name, items);
      } else if (volume.hostPath) {
        makeHostPath(volume);
      } else if (volume.emptyDir || Object.keys(volume).length === 1) {
        makeEmpty(folder, volume.emptyDir ?? {}, pod.spec.securityContext?.fsGroup);
      } else {
        const kind = Object.keys(volume).find((key) => key !== 'name');
        throw new ConfigError(`volume "${volume.name}": the local mesh has no ${kind} volumes`);
      }
    }
  }

  /** Unmounts what has a file system of its own, so that its folder can go. */
  release(pod: KubeObject): void {
    for (const volume of pod.spec.volumes ?? []) {
      if (volume.emptyDir?.medium !== 'Memory' || volume.emptyDir.sizeLimit === undefined) continue;
      const folder = this.source(pod, volume.name);
      if (existsSync(folder)) spawnSync('umount', ['-l', folder]);
    }
  }

  /** The folder (or file) of this machine that holds a volume. */
  source(pod: KubeObject, name: string): string {
    const volume = (pod.spec.volumes ?? []).find((one: KubeObject) => one.name === name);
    if (!volume) throw new ConfigError(`volume "${name}" not found`);
    if (volume.hostPath) return volume.hostPath.path;
    return join(volume.emptyDir?.medium === 'Memory' ? this.#files.scratch : this.#files.volumes, `volume-${name}`);
  }

  /** Whether any volume is made of something that can change while the pod runs. */
  get changing(): boolean {
    return this.#written.size > 0;
  }
}
