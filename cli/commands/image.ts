/** `mesh image`: the images of the local mesh. */
import { closeSync, openSync } from 'node:fs';
import type { Command } from 'commander';
import type { StoredImage } from '../../local/images/store.ts';
import type { LocalPaths } from '../../local/paths.ts';
import type { Context } from '../context.ts';
import { CliError, fromPart } from '../errors.ts';
import { isData, outputOption, writeData } from '../output.ts';

export function register(program: Command, context: Context): void {
  const image = program
    .command('image')
    .summary('Load, list and remove images of the local mesh')
    .description('Load, list and remove images of the local mesh, which pulls none from a registry.')
    .addHelpText('after', '\nExamples:\n  docker save shop:1.0 | mesh image load -\n  mesh image list');
  image
    .command('load')
    .description('Load an archive: an OCI image layout as tar, or what docker save writes; plain, gzip or zstd')
    .argument('<file>', 'archive, or - for stdin')
    .option('--name <name>', 'what to call the image, where the archive does not say')
    .addHelpText('after', '\nExamples:\n  mesh image load shop.tar\n  docker save shop:1.0 | mesh image load -')
    .action((file: string, flags: { name?: string }) => load(file, flags.name, context));
  image
    .command('list')
    .alias('ls')
    .description('List the images that are loaded')
    .addOption(outputOption(['table', 'json', 'yaml']))
    .addHelpText('after', '\nExamples:\n  mesh image list\n  mesh image list -o json')
    .action((flags: { output: string }) => list(flags.output, context));
  image
    .command('rm')
    .alias('remove')
    .description('Remove images by name or id; what a pod runs stays')
    .argument('<name...>', 'names as `mesh image list` shows them, or ids')
    .addHelpText('after', '\nExamples:\n  mesh image rm shop:1.0\n  mesh image rm shop:1.0 shop:1.1')
    .action((names: string[]) => remove(names, context));
}

/** The folders of the local mesh, where there is one. */
async function localMesh({ io, globals }: Context, what: string): Promise<LocalPaths> {
  const { isLocal } = await import('../connect.ts');
  const { localMeshStatus, localPaths } = await import('../../local/launch.ts');
  if (!(await isLocal(globals, io.env))) {
    throw new CliError({
      code: 'image-of-cluster',
      message: `A cluster is configured, and \`mesh image ${what}\` is for the local mesh: a cluster's nodes get their images themselves`,
    });
  }
  const paths = localPaths(io.env);
  if ((await localMeshStatus(paths)) !== 'absent') return paths;
  throw new CliError({
    code: 'local-mesh-not-running',
    message: 'There is no local mesh on this machine to have images',
    fix: 'Run `mesh install` first.',
  });
}

async function explained<T>(work: () => Promise<T>): Promise<T> {
  const { LocalMeshError } = await import('../../local/launch.ts');
  const { ImageFailure } = await import('../../local/images/image-error.ts');
  try {
    return await work();
  } catch (error) {
    throw error instanceof LocalMeshError || error instanceof ImageFailure ? fromPart(error) : error;
  }
}

function open(file: string): number {
  try {
    return openSync(file, 'r');
  } catch (cause) {
    throw new CliError({ code: 'unreadable-input', message: `Cannot read ${file}`, cause });
  }
}

async function load(file: string, name: string | undefined, context: Context): Promise<void> {
  const { io, signal } = context;
  const paths = await localMesh(context, 'load');
  const { loadImages } = await import('../../local/images/run.ts');
  const { familiarName } = await import('../../local/images/reference.ts');
  const { Status } = await import('../render/status.ts');
  const archive = file === '-' ? 0 : open(file);
  const status = new Status(io);
  try {
    await status.start(`Loading ${file === '-' ? 'stdin' : file}`);
    context.cleanUp = 'removing what is unpacked';
    const { images, notes } = await explained(() =>
      loadImages(paths, archive, name, (step) => status.progress(step), signal),
    );
    status.done();
    for (const note of notes) io.note(note);
    for (const image of images) for (const one of image.names) io.write(`image/${familiarName(one)} loaded\n`);
    io.hint('Next: mesh apply -f, with imagePullPolicy: IfNotPresent');
  } catch (error) {
    status.fail();
    throw error;
  } finally {
    context.cleanUp = undefined;
    if (archive !== 0) closeSync(archive);
  }
}

const size = (image: StoredImage): number => image.layers.reduce((sum, layer) => sum + layer.bytes, 0);

async function list(output: string, context: Context): Promise<void> {
  const { io } = context;
  const paths = await localMesh(context, 'list');
  const { ImageStore } = await import('../../local/images/store.ts');
  const { familiarName } = await import('../../local/images/reference.ts');
  const { renderTable } = await import('../render/table.ts');
  const images = await explained(async () => new ImageStore(paths.state).list());
  if (isData(output)) {
    const items = images.map((image) => ({
      id: image.id,
      names: image.names,
      digests: image.digests,
      layers: image.layers.length,
      size_bytes: size(image),
      loaded: image.loaded,
    }));
    return writeData(io, output, { items });
  }
  if (images.length === 0) return io.note('No images are loaded; load one with `mesh image load FILE`');
  const rows = images.flatMap((image) =>
    (image.names.length > 0 ? image.names : ['<none>']).map((name) => [
      familiarName(name),
      image.id.slice('sha256:'.length, 'sha256:'.length + 12),
      `${(size(image) / 2 ** 20).toFixed(1)}MiB`,
      image.loaded.slice(0, 19).concat('Z'),
    ]),
  );
  io.write(renderTable(['NAME', 'ID', 'SIZE', 'LOADED'], rows.sort()));
}

/** Pods that run, or are to run, by the id of an image. */
async function usersOf(context: Context, images: StoredImage[]): Promise<Map<string, Set<string>>> {
  const { resources } = await import('../../kube/resources.ts');
  const { normalizeName } = await import('../../local/images/reference.ts');
  const kube = await context.kube();
  const users = new Map(images.map((image) => [image.id, new Set<string>()]));
  const byName = new Map(images.flatMap((image) => image.names.map((name) => [name, image.id])));
  try {
    for (const pod of await kube.list(resources.pods)) {
      if (['Succeeded', 'Failed'].includes(pod.status?.phase)) continue;
      const { containers = [], initContainers = [] } = pod.spec;
      const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
      const named = [...containers, ...initContainers].map((one) => byName.get(normalizeName(one.image) ?? ''));
      const run = [...containerStatuses, ...initContainerStatuses].map((one) => one.imageID as string);
      for (const id of [...named, ...run]) users.get(id ?? '')?.add(`${pod.metadata.namespace}/${pod.metadata.name}`);
    }
  } finally {
    kube.close();
  }
  return users;
}

async function remove(names: string[], context: Context): Promise<void> {
  const { io, signal } = context;
  const paths = await localMesh(context, 'rm');
  const { ImageStore } = await import('../../local/images/store.ts');
  const { familiarName, normalizeName } = await import('../../local/images/reference.ts');
  const { removeImage } = await import('../../local/images/run.ts');
  // All of them are looked up and checked before any goes.
  const found = await explained(async () => {
    const store = new ImageStore(paths.state);
    return names.map((name) => store.find(name) ?? store.missing(name));
  });
  const users = await usersOf(context, found);
  for (const [at, image] of found.entries()) {
    const pods = [...(users.get(image.id) ?? [])];
    if (pods.length === 0) continue;
    throw new CliError({
      code: 'image-in-use',
      message: `Image ${names[at]} is used by ${pods.slice(0, 5).join(', ')}${pods.length > 5 ? ', …' : ''}`,
    });
  }
  context.cleanUp = 'the image being removed is brought to its end';
  for (const name of names) {
    const { id, removed } = await explained(() => removeImage(paths, name, signal));
    const shown = familiarName(normalizeName(name) ?? name);
    io.write(
      `image/${shown} ${removed ? 'removed' : `untagged, ${id.slice('sha256:'.length).slice(0, 12)} has other names`}\n`,
    );
  }
}
