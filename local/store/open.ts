/** Opens the state file, or says in one sentence why it cannot be used. What is there is never changed by a refusal. */
import { closeSync, existsSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const schemaVersion = 1;
const magic = 'SQLite format 3\0';

/** SQLite's result codes (sqlite.org/rescode.html), the lowest byte of the extended ones. */
const result = { readOnly: 8, ioError: 10, full: 13, cannotOpen: 14 };

/** The state cannot be read or written. */
export class StateError extends Error {
  /** state-corrupt, state-newer, state-unwritable, disk-full. */
  readonly code: string;
  readonly fix: string;

  constructor(code: string, message: string, fix: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StateError';
    this.code = code;
    this.fix = fix;
  }
}

/** Its companions hold the last writes, so they go where it goes. */
function corrupt(file: string, why: string): StateError {
  const aside = join(dirname(file), 'broken');
  return new StateError(
    'state-corrupt',
    `The state file ${file} cannot be read: ${why}.`,
    `It was left as it is. To begin anew, move it away and run \`mesh install\`: mkdir ${aside} && mv ${file}* ${aside}/`,
  );
}

/** An error of SQLite or of the file system in terms of the state; undefined for any other. */
export function stateProblem(file: string, error: unknown): StateError | undefined {
  const { errcode, code } = error as { errcode?: number; code?: string };
  const number = errcode === undefined ? undefined : errcode & 0xff;
  if (number === result.full || code === 'ENOSPC' || code === 'EDQUOT') {
    return new StateError(
      'disk-full',
      `The disk is full: ${file} cannot be written.`,
      `Free some space on the file system of ${dirname(file)} (df -h ${dirname(file)}).`,
      error,
    );
  }
  if (
    number === result.readOnly ||
    number === result.ioError ||
    number === result.cannotOpen ||
    ['EROFS', 'EACCES', 'EPERM', 'EIO'].includes(code ?? '')
  ) {
    return new StateError(
      'state-unwritable',
      `The state file ${file} cannot be written: ${(error as Error).message}.`,
      `Make ${dirname(file)} a folder that root can write to (not mounted read-only), or set MESH_HOME to one.`,
      error,
    );
  }
  return undefined;
}

/** @throws StateError */
export function openState(file: string): DatabaseSync {
  if (file === ':memory:') return prepared(new DatabaseSync(file));
  let database: DatabaseSync | undefined;
  try {
    if (existsSync(file)) checkHead(file);
    else createFile(file);
    database = new DatabaseSync(file);
    check(file, database);
    // FULL: an acknowledged write survives a crash of the machine too; one commit is well under a millisecond.
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof StateError) throw error;
    throw stateProblem(file, error) ?? corrupt(file, (error as Error).message);
  }
}

/** Under another name until it is whole: an empty file is then always one that was cut off. */
function createFile(file: string): void {
  const fresh = `${file}.new`;
  rmSync(fresh, { force: true });
  prepared(new DatabaseSync(fresh)).close();
  renameSync(fresh, file);
}

function prepared(database: DatabaseSync): DatabaseSync {
  database.exec(`BEGIN; CREATE TABLE objects (type TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (type, key)) WITHOUT ROWID;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; INSERT INTO meta VALUES ('version', '1');
    PRAGMA user_version = ${schemaVersion}; COMMIT`);
  return database;
}

/** SQLite would take an empty or cut-off file for a new database. */
function checkHead(file: string): void {
  const head = Buffer.alloc(16);
  const fd = openSync(file, 'r');
  readSync(fd, head, 0, 16, 0);
  closeSync(fd);
  if (statSync(file).size === 0) throw corrupt(file, 'it is empty');
  if (head.toString('latin1') !== magic) throw corrupt(file, 'it is not a SQLite database');
}

function check(file: string, database: DatabaseSync): void {
  const found = (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
  const own = tables.filter((table) => table.name === 'objects' || table.name === 'meta').length === 2;
  if (!own) throw corrupt(file, 'it belongs to another program');
  if (found > schemaVersion) {
    throw new StateError(
      'state-newer',
      `The state file ${file} was written by a newer mesh (schema ${found}; this one reads ${schemaVersion}).`,
      'It was left as it is. Use that version of mesh, or move the file away to begin anew with this one.',
    );
  }
  if (found !== schemaVersion) throw corrupt(file, `its schema is ${found}, which no version of mesh has written`);
  const answer = database.prepare('PRAGMA quick_check').get() as { quick_check: string };
  if (answer.quick_check !== 'ok') throw corrupt(file, answer.quick_check.replaceAll('\n', ' '));
}

/** A row that is no object. */
export function unreadable(file: string, row: { type: string; key: string }, error: unknown): StateError {
  return corrupt(file, `${row.type} ${row.key} is no object: ${(error as Error).message}`);
}
