/** The log of the local mesh's own processes: standard error, which the launcher has opened on a file. */
import { writeSync } from 'node:fs';

const standardError = 2;

/** Writes a line. Where the disk is full the line is lost: a log must not end what it tells about. */
export function makeLog(who: string): (message: string) => void {
  return (message) => {
    try {
      writeSync(standardError, `${new Date().toISOString()} ${who}: ${message}\n`);
    } catch (error) {
      if (!['ENOSPC', 'EDQUOT', 'EIO', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  };
}
