/**
 * The folder of network configurations: the plugin at the end of the first one, which is the one that runtimes use. What
 * stood there before is kept beside it, under a name that no runtime reads, so that the folder can be left as it was.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chain, chainSingle, holdsPlugin, isChained, isSame, names, unchain } from './network-conf.ts';

const saved = '.mesh-saved';

export class ConfFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Puts the plugin where it belongs, and out of where it does not. Returns the file it is in; undefined where there is
   * no configuration yet.
   * @throws Error naming a file that cannot be read or written; the next try may find it whole
   */
  chain(): string | undefined {
    const [first, ...others] = this.#list();
    for (const file of others) {
      // The list made of a single configuration goes where that has come back.
      if (first !== undefined && !names.isList(first) && file === names.listOf(first)) continue;
      if (holdsPlugin(this.#read(file))) this.#restore(file);
    }
    if (first === undefined) return undefined;
    try {
      return names.isList(first) ? this.#chainList(first) : this.#chainSingle(first);
    } catch (error) {
      throw new Error(`${join(this.#folder, first)}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Leaves the folder as it would be without the plugin. */
  unchain(): void {
    for (const file of this.#list()) if (names.isList(file) && holdsPlugin(this.#read(file))) this.#restore(file);
    // Of configurations that somebody else has taken away meanwhile.
    for (const file of readdirSync(this.#folder).filter((one) => one.endsWith(saved))) rmSync(this.#path(file));
  }

  #chainList(file: string): string {
    const text = this.#read(file);
    if (isChained(text)) return file;
    const chained = chain(text);
    if (!holdsPlugin(text)) this.#write(`${file}${saved}`, text, file);
    this.#write(file, chained, file);
    return file;
  }

  /** The list comes first, then the single one goes: there is a network at all times. */
  #chainSingle(file: string): string {
    const list = names.listOf(file);
    if (existsSync(this.#path(list)) && !holdsPlugin(this.#read(list)))
      throw new Error(`${list} is there too, and only one of the two is in use: remove the other`);
    this.#write(list, chainSingle(this.#read(file)), file);
    renameSync(this.#path(file), this.#path(`${file}${saved}`));
    return list;
  }

  #restore(list: string): void {
    const single = readdirSync(this.#folder).find((one) => one.endsWith(saved) && this.#isSingleOf(one, list));
    if (single !== undefined) {
      const original = single.slice(0, -saved.length);
      if (existsSync(this.#path(original))) rmSync(this.#path(single));
      else renameSync(this.#path(single), this.#path(original));
      rmSync(this.#path(list));
      return;
    }
    const without = unchain(this.#read(list));
    const before = this.#path(`${list}${saved}`);
    if (existsSync(before) && isSame(readFileSync(before, 'utf8'), without)) {
      renameSync(before, this.#path(list));
      return;
    }
    this.#write(list, without, list);
    rmSync(before, { force: true });
  }

  #isSingleOf(file: string, list: string): boolean {
    const original = file.slice(0, -saved.length);
    return !names.isList(original) && names.listOf(original) === list;
  }

  #list(): string[] {
    return readdirSync(this.#folder).filter(names.isConf).sort();
  }

  #path(file: string): string {
    return join(this.#folder, file);
  }

  #read(file: string): string {
    return readFileSync(this.#path(file), 'utf8');
  }

  /** In one step, so that a runtime reads the old or the new; with the mode of another file. */
  #write(file: string, text: string, like: string): void {
    const partial = this.#path(`.${file}.mesh-new`);
    writeFileSync(partial, text, { mode: statSync(this.#path(like)).mode & 0o777 });
    renameSync(partial, this.#path(file));
  }
}
