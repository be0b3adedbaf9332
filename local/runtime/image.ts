/** What an image gives a container: root file system, defaults of its process. */
import { join } from 'node:path';
import type { KubeObject } from '../../kube/types.ts';
import { hostFiles, type RootFiles } from './host-files.ts';
import { ImageError } from './runner.ts';
import type { ContainerMount } from './script.ts';

export interface Image {
  root: RootFiles;
  mounts: ContainerMount[];
  entrypoint: string[];
  command: string[];
  environment: Record<string, string>;
  workingDirectory: string;
  uid: number;
  gid: number;
}

export interface ImageSource {
  /** Throws ImageError where the container cannot run. */
  find(container: KubeObject): Image;
}

/** Every container sees this machine's files, with the mesh's own programs at /opt/mesh. */
export class HostFiles implements ImageSource {
  readonly #programs: string;
  readonly #hidden: string[];

  constructor(paths: { state: string; run: string }) {
    this.#programs = join(paths.state, 'image/opt/mesh');
    this.#hidden = [paths.state, paths.run];
  }

  find(container: KubeObject): Image {
    if (!container.command?.length) {
      throw new ImageError(
        `image "${container.image}" is not loaded on this machine and container "${container.name}" names no command: set \`command\` in the manifest to run a program of this machine`,
      );
    }
    return {
      root: hostFiles(this.#hidden),
      mounts: [{ source: this.#programs, target: '/opt/mesh', readOnly: true }],
      entrypoint: [],
      command: [],
      environment: {},
      workingDirectory: '/',
      uid: 0,
      gid: 0,
    };
  }
}
