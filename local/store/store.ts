/**
 * All objects of the local mesh: in memory, and written through to SQLite before a write returns. One counter numbers
 * every change; the last ones are kept so that a watch can resume.
 */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { KubeObject, WatchEvent } from '../../kube/types.ts';

const schemaVersion = 1;
const historyLength = 5000;
const magic = 'SQLite format 3\0';

/** The state file cannot be used. It is left as it is, for its owner to look at. */
export class StateCorrupt extends Error {
  readonly code = 'state-corrupt';
  readonly fix: string;

  constructor(file: string, why: string) {
    super(`the state file ${file} cannot be read: ${why}`);
    this.name = 'StateCorrupt';
    this.fix = `it was left as it is; move it away and run mesh install to begin anew (mv ${file} ${file}.broken)`;
  }
}

export interface Change {
  version: number;
  /** Plural and group of the type, e.g. `deployments.apps`. */
  type: string;
  event: WatchEvent;
  /** The object before the change, for watches with a selector; undefined for a new one. */
  before: KubeObject | undefined;
}

function freeze<T>(value: T): T {
  if (value && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) freeze(inner);
  }
  return value;
}

export class Store {
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #drop: StatementSync;
  readonly #count: StatementSync;
  readonly #types = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #history: Change[] = [];
  #version: number;

  private constructor(database: DatabaseSync) {
    this.#database = database;
    this.#put = database.prepare('INSERT OR REPLACE INTO objects (type, key, body) VALUES (?, ?, ?)');
    this.#drop = database.prepare('DELETE FROM objects WHERE type = ? AND key = ?');
    this.#count = database.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES ('version', ?)");
    this.#version = Number(
      (database.prepare("SELECT value FROM meta WHERE name = 'version'").get() as { value: string }).value,
    );
    for (const row of database.prepare('SELECT type, key, body FROM objects').all() as {
      type: string;
      key: string;
      body: string;
    }[]) {
      this.#map(row.type).set(row.key, freeze(JSON.parse(row.body) as KubeObject));
    }
  }

  /** Opens or makes the state file. @throws StateCorrupt, and leaves the file alone */
  static open(file: string): Store {
    if (existsSync(file) && statSync(file).size > 0) {
      const head = Buffer.alloc(16);
      const fd = openSync(file, 'r');
      readSync(fd, head, 0, 16, 0);
      closeSync(fd);
      if (head.toString('latin1') !== magic) throw new StateCorrupt(file, 'it is not a SQLite database');
    }
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(file);
      const found = (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
      const own = tables.filter((table) => table.name === 'objects' || table.name === 'meta').length === 2;
      if (tables.length > 0 && !own) throw new Error('it belongs to another program');
      if (tables.length > 0 && found !== schemaVersion)
        throw new Error(`its schema is ${found}, this version reads ${schemaVersion}`);
      if (tables.length > 0) {
        const check = database.prepare('PRAGMA quick_check').get() as { quick_check: string };
        if (check.quick_check !== 'ok') throw new Error(check.quick_check);
      }
      // FULL: an acknowledged write survives a crash of the machine too; one commit is well under a millisecond.
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      if (tables.length === 0) {
        database.exec(`BEGIN; CREATE TABLE objects (type TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (type, key)) WITHOUT ROWID;
          CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID; INSERT INTO meta VALUES ('version', '1');
          PRAGMA user_version = ${schemaVersion}; COMMIT`);
      }
      return new Store(database);
    } catch (error) {
      database?.close();
      throw new StateCorrupt(file, (error as Error).message);
    }
  }

  get version(): number {
    return this.#version;
  }

  /** Oldest version a watch can resume from. */
  get oldest(): number {
    return this.#history[0] ? this.#history[0].version - 1 : this.#version;
  }

  get(type: string, key: string): KubeObject | undefined {
    return this.#types.get(type)?.get(key);
  }

  list(type: string): KubeObject[] {
    return [...(this.#types.get(type)?.values() ?? [])];
  }

  /** Stores an object under the next version, which becomes its resourceVersion. */
  put(type: string, key: string, object: KubeObject): KubeObject {
    const before = this.get(type, key);
    const version = this.#version + 1;
    const stored = freeze({
      ...object,
      metadata: { ...object.metadata, resourceVersion: String(version) },
    } as KubeObject);
    this.#commit(version, () => this.#put.run(type, key, JSON.stringify(stored)));
    this.#map(type).set(key, stored);
    this.#tell({ version, type, event: { type: before ? 'MODIFIED' : 'ADDED', object: stored }, before });
    return stored;
  }

  remove(type: string, key: string): KubeObject | undefined {
    const before = this.get(type, key);
    if (!before) return undefined;
    const version = this.#version + 1;
    this.#commit(version, () => this.#drop.run(type, key));
    this.#map(type).delete(key);
    const object = freeze({
      ...before,
      metadata: { ...before.metadata, resourceVersion: String(version) },
    } as KubeObject);
    this.#tell({ version, type, event: { type: 'DELETED', object }, before });
    return object;
  }

  /** Changes after a version; undefined where they are no longer all there. */
  since(version: number): Change[] | undefined {
    if (version < this.oldest) return undefined;
    return this.#history.filter((change) => change.version > version);
  }

  listen(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A value of the mesh itself (keys, tokens), not an object. */
  secret(name: string, make: () => string): string {
    const row = this.#database.prepare('SELECT value FROM meta WHERE name = ?').get(`secret:${name}`) as
      | { value: string }
      | undefined;
    if (row) return row.value;
    const value = make();
    this.#database.prepare('INSERT INTO meta (name, value) VALUES (?, ?)').run(`secret:${name}`, value);
    return value;
  }

  close(): void {
    this.#database.close();
  }

  #map(type: string): Map<string, KubeObject> {
    let map = this.#types.get(type);
    if (!map) {
      map = new Map();
      this.#types.set(type, map);
    }
    return map;
  }

  #commit(version: number, write: () => void): void {
    this.#database.exec('BEGIN');
    try {
      write();
      this.#count.run(String(version));
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
    this.#version = version;
  }

  #tell(change: Change): void {
    this.#history.push(change);
    if (this.#history.length > historyLength) this.#history.splice(0, historyLength / 10);
    for (const listener of this.#listeners) listener(change);
  }
}
