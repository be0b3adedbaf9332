/**
 * All objects of the local mesh: in memory, and written through to SQLite before a write returns. One counter numbers
 * every change; the last ones are kept so that a watch can resume.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { KubeObject, WatchEvent } from '../../kube/types.ts';
import { openState, stateProblem, unreadable } from './open.ts';

const historyLength = 5000;

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
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #put: StatementSync;
  readonly #drop: StatementSync;
  readonly #count: StatementSync;
  readonly #types = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #history: Change[] = [];
  #version: number;

  private constructor(file: string, database: DatabaseSync) {
    this.#file = file;
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
      try {
        this.#map(row.type).set(row.key, freeze(JSON.parse(row.body) as KubeObject));
      } catch (error) {
        throw unreadable(file, row, error);
      }
    }
  }

  /** Opens or makes the state file. @throws StateError, and leaves the file alone */
  static open(file: string): Store {
    const database = openState(file);
    try {
      return new Store(file, database);
    } catch (error) {
      database.close();
      throw error;
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

  /** Stores an object under the next version, which becomes its resourceVersion. @throws StateError where it cannot be written */
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
    try {
      this.#database.exec('BEGIN');
      write();
      this.#count.run(String(version));
      this.#database.exec('COMMIT');
    } catch (error) {
      // Some failures (a full disk) have rolled back already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw stateProblem(this.#file, error) ?? error;
    }
    this.#version = version;
  }

  #tell(change: Change): void {
    this.#history.push(change);
    if (this.#history.length > historyLength) this.#history.splice(0, historyLength / 10);
    for (const listener of this.#listeners) listener(change);
  }
}
