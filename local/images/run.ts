/** Starts the program that changes images, for the command line. */
import { join } from 'node:path';
import { LocalMeshError, type LocalPaths, programsFolder, spawnAsRoot } from '../launch.ts';
import { searchPath } from '../preflight.ts';
import type { ImageMessage } from './messages.ts';

type Answer<Type extends ImageMessage['type']> = Extract<ImageMessage, { type: Type }>;

async function change<Type extends 'loaded' | 'removed'>(
  type: Type,
  paths: LocalPaths,
  args: string[],
  archive: number | 'ignore',
  progress: (step: string) => void,
  signal: AbortSignal,
): Promise<Answer<Type>> {
  const program = join(programsFolder(), 'images.js');
  const child = await spawnAsRoot(
    paths,
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, ...args],
    {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc', archive],
      env: { ...process.env, PATH: searchPath() },
    },
  );
  const { promise, resolve, reject } = Promise.withResolvers<Answer<Type>>();
  const failed = (message: string): void =>
    reject(new LocalMeshError('image-failed', message, 'Run the command again with --debug.'));
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  let answer: Answer<Type> | undefined;
  child.on('message', (message: ImageMessage) => {
    if (message.type === 'step') progress(message.step);
    else if (message.type === 'failed')
      reject(new LocalMeshError(message.failure.code, message.failure.message, message.failure.fix));
    else if (message.type === type) answer = message as Answer<Type>;
  });
  child.once('error', (error) => failed(`Images could not be changed: ${error.message}.`));
  child.once('exit', (code, name) => {
    if (answer) resolve(answer);
    else failed(`Changing images ended early (${name ?? code}).`);
  });
  return promise.finally(() => signal.removeEventListener('abort', stop));
}

/** @param archive descriptor, open for reading
 *  @throws LocalMeshError */
export function loadImages(
  paths: LocalPaths,
  archive: number,
  name: string | undefined,
  progress: (step: string) => void,
  signal: AbortSignal,
): Promise<Answer<'loaded'>> {
  return change(
    'loaded',
    paths,
    ['load', paths.state, ...(name === undefined ? [] : [name])],
    archive,
    progress,
    signal,
  );
}

/** @throws LocalMeshError */
export function removeImage(paths: LocalPaths, name: string, signal: AbortSignal): Promise<Answer<'removed'>> {
  return change('removed', paths, ['remove', paths.state, name], 'ignore', () => {}, signal);
}
