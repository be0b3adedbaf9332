/**
 * Loads and removes images with the rights of the local mesh: as root, or inside its user namespace, where the users of
 * an image are this user's subordinate ids. Started by the command line, which it answers over Node's IPC channel.
 * Arguments: `load STATE [NAME]`, the archive on descriptor 4; or `remove STATE NAME`.
 */
import { ImageFailure } from './image-error.ts';
import { loadArchive } from './load.ts';
import type { ImageMessage } from './messages.ts';
import { ImageStore } from './store.ts';

const archive = 4;

function tell(message: ImageMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected) resolve();
    else process.send!(message, () => resolve());
  });
}

async function main(): Promise<void> {
  const [verb, state, name] = process.argv.slice(2) as [string, string, string | undefined];
  const store = new ImageStore(state);
  if (verb === 'load') {
    const loaded = await loadArchive(store, archive, name, (step) => void tell({ type: 'step', step }));
    await tell({ type: 'loaded', ...loaded });
  } else {
    await tell({ type: 'removed', ...(await store.locked(() => store.remove(name!))) });
  }
}

/** Ctrl-C, or a command line that is gone: nothing of a load half done stays. */
function giveUp(): void {
  new ImageStore(process.argv[3]!).abandon();
  process.exit(1);
}

for (const name of ['SIGINT', 'SIGTERM', 'disconnect']) process.once(name, giveUp);
main()
  .catch((error: Error) => {
    const { code = 'image-failed', fix = 'Run the command again with --debug.' } =
      error instanceof ImageFailure ? error : {};
    return tell({ type: 'failed', failure: { code, message: error.message, fix } });
  })
  .finally(() => {
    process.off('disconnect', giveUp);
    process.disconnect?.();
  });
