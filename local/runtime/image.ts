/** What an image gives a container: root file system, defaults of its process. */
import { constants } from 'node:os';
import { join } from 'node:path';
import type { KubeObject } from '../../kube/types.ts';
import { ImageStore, type StoredImage } from '../images/store.ts';
import { hostFiles, type RootFiles } from './host-files.ts';
import { type ImageUser, ImageUsers, rootUser } from './image-user.ts';
import { ImageError } from './runner.ts';
import type { ContainerMount } from './script.ts';

export interface Image {
  /** Empty for this machine's files. */
  id: string;
  root: RootFiles;
  mounts: ContainerMount[];
  entrypoint: string[];
  command: string[];
  environment: Record<string, string>;
  workingDirectory: string;
  stopSignal: NodeJS.Signals;
  /** The user it runs as, where the pod asks for `uid` or for none. Throws ImageError where the image does not know it. */
  user: (uid: number | undefined) => ImageUser;
}

export interface ImageSource {
  /** Throws ImageError where the container cannot run. */
  find(container: KubeObject): Image;
}

/** Images that were loaded; for the other containers, this machine's files with the mesh's own programs at /opt/mesh. */
export class LocalImages implements ImageSource {
  readonly #store: ImageStore;
  readonly #programs: string;
  readonly #hidden: string[];

  constructor(paths: { state: string; run: string }) {
    this.#store = new ImageStore(paths.state);
    this.#programs = join(paths.state, 'image/opt/mesh');
    this.#hidden = [paths.state, paths.run];
  }

  find(container: KubeObject): Image {
    const stored = this.#store.find(container.image);
    if (stored) return this.#loaded(stored, container);
    if (!container.command?.length) {
      throw new ImageError(
        'ErrImageNeverPull',
        `image "${container.image}" is not loaded on this machine and container "${container.name}" names no command: load it with \`mesh image load FILE\`, or set \`command\` in the manifest to run a program of this machine`,
      );
    }
    return {
      id: '',
      root: hostFiles(this.#hidden),
      mounts: [{ source: this.#programs, target: '/opt/mesh', readOnly: true }],
      entrypoint: [],
      command: [],
      environment: {},
      workingDirectory: '/',
      stopSignal: 'SIGTERM',
      user: rootUser,
    };
  }

  #loaded({ id, layers, config }: StoredImage, container: KubeObject): Image {
    if (container.imagePullPolicy === 'Always') {
      throw new ImageError(
        'ErrImagePull',
        `image "${container.image}" is loaded, but imagePullPolicy Always asks a registry for it and the local mesh asks none: set imagePullPolicy to IfNotPresent (an image without a tag, or with the tag latest, has Always unless the manifest says otherwise)`,
      );
    }
    const folders = layers.map(({ folder }) => join(this.#store.layers, folder)).reverse();
    const users = new ImageUsers(folders);
    return {
      id,
      root: {
        overlays: [{ lower: folders, target: '/', mode: 0o755, folders: [] }],
        folders: [],
        links: [],
        files: [],
      },
      mounts: [],
      entrypoint: config.Entrypoint ?? [],
      command: config.Cmd ?? [],
      environment: variables(config.Env ?? []),
      workingDirectory: config.WorkingDir || '/',
      stopSignal: signalOf(config.StopSignal),
      user: (uid) => users.find(uid === undefined ? config.User || '0' : String(uid), config.User),
    };
  }
}

function variables(lines: string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.indexOf('=');
      return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** `SIGQUIT`, `QUIT` or `3`; anything else ends a program the usual way. */
function signalOf(text = ''): NodeJS.Signals {
  const name = text.toUpperCase().replace(/^(?:SIG)?/, 'SIG');
  const { signals } = constants;
  const found = Object.entries(signals).find(([known, number]) => known === name || String(number) === text);
  return (found?.[0] as NodeJS.Signals | undefined) ?? 'SIGTERM';
}
