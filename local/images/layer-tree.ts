/**
 * The folder of one layer while it is written. Names come from strangers: nothing is ever written, linked or removed
 * through a link, so every path stays inside. Paths are latin1 strings, each character a byte, for file names need not
 * be UTF-8.
 */
import { chmodSync, lchownSync, linkSync, lstatSync, mkdirSync, rmSync, type Stats, symlinkSync } from 'node:fs';
import { unsafe } from './image-error.ts';
import { makeFifo, makeOpaque, makeWhiteout } from './system.ts';

const bytes = (path: string): Buffer => Buffer.from(path, 'latin1');

function look(path: string): Stats | undefined {
  return lstatSync(bytes(path), { throwIfNoEntry: false });
}

const isWhiteout = (found: Stats | undefined): boolean => found?.isCharacterDevice() === true && found.rdev === 0;

export class LayerTree {
  readonly #root: string;
  /** Folders of the layers below, topmost first. */
  readonly #lower: string[];
  /** Folders known to be real ones. */
  readonly #real = new Set(['']);

  constructor(root: string, lower: string[]) {
    this.#root = Buffer.from(root).toString('latin1');
    this.#lower = lower.map((one) => Buffer.from(one).toString('latin1'));
  }

  /** The parts of a name, with `/` and `.` taken out. */
  parts(name: string): string[] {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || name.includes('\0'))
      throw unsafe(`The archive has a file "${name}", which leads out of the image.`);
    return parts;
  }

  path(parts: string[]): Buffer {
    return bytes([this.#root, ...parts].join('/'));
  }

  /** Whether anything is at a path whose parents are real folders. */
  has(parts: string[]): boolean {
    this.#checkParents(parts);
    const found = look([this.#root, ...parts].join('/'));
    return found !== undefined && !isWhiteout(found);
  }

  #checkParents(parts: string[], make = false): void {
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = parts.slice(0, depth).join('/');
      if (this.#real.has(folder)) continue;
      const found = look(`${this.#root}/${folder}`);
      if (found?.isSymbolicLink())
        throw unsafe(`The archive writes "${parts.join('/')}" through the link "${folder}".`);
      if (found?.isDirectory()) this.#real.add(folder);
      else if (make) this.#makeParent(folder, found);
      else return;
    }
  }

  /** A folder the layer does not list is one of a layer below, with its owner and mode. */
  #makeParent(folder: string, found: Stats | undefined): void {
    const path = `${this.#root}/${folder}`;
    if (found) rmSync(bytes(path));
    mkdirSync(bytes(path));
    const below = this.#lower.map((root) => look(`${root}/${folder}`)).find((one) => one?.isDirectory());
    if (below) lchownSync(bytes(path), below.uid, below.gid);
    chmodSync(bytes(path), below ? below.mode & 0o7777 : 0o755);
    if (isWhiteout(found)) makeOpaque(bytes(path));
    this.#real.add(folder);
  }

  /** Makes room for an entry: its parents are there, and nothing is at its place but, for a folder, a folder. Answers
   *  whether what is deleted from the layers below was at its place. */
  #place(parts: string[], folder: boolean): { path: Buffer; there: boolean; hidden: boolean } {
    this.#checkParents(parts, true);
    const name = parts.join('/');
    const path = this.path(parts);
    const found = parts.length === 0 ? lstatSync(path) : look(`${this.#root}/${name}`);
    if (folder && found?.isDirectory()) return { path, there: true, hidden: false };
    if (parts.length === 0) throw unsafe('The archive replaces the root of the image by something else.');
    if (found) rmSync(path, { recursive: true });
    if (found?.isDirectory())
      for (const one of this.#real) if (one === name || one.startsWith(`${name}/`)) this.#real.delete(one);
    return { path, there: false, hidden: isWhiteout(found) };
  }

  folder(parts: string[]): Buffer {
    const { path, there, hidden } = this.#place(parts, true);
    if (!there) mkdirSync(path);
    if (hidden) makeOpaque(path);
    return path;
  }

  /** Where a new file goes; the caller opens it so that it must be new. */
  file(parts: string[]): Buffer {
    return this.#place(parts, false).path;
  }

  symlink(parts: string[], target: string): Buffer {
    const { path } = this.#place(parts, false);
    symlinkSync(bytes(target), path);
    return path;
  }

  fifo(parts: string[], mode: number): Buffer {
    const { path } = this.#place(parts, false);
    makeFifo(path, mode);
    return path;
  }

  /** A second name of a file of the same layer. */
  hardLink(parts: string[], target: string[]): void {
    this.#checkParents(target);
    const found = look([this.#root, ...target].join('/'));
    if (!found || found.isDirectory() || isWhiteout(found))
      throw unsafe(
        `The archive links "${parts.join('/')}" to "${target.join('/')}", which is no file of the same layer.`,
      );
    if (parts.join('/') === target.join('/')) return;
    const { path } = this.#place(parts, false);
    linkSync(this.path(target), path);
  }

  /** Hides what the layers below have at a path; what this layer has there itself stays. */
  whiteout(parts: string[]): void {
    this.#checkParents(parts, true);
    const found = look([this.#root, ...parts].join('/'));
    if (!found) makeWhiteout(this.path(parts));
    else if (found.isDirectory()) makeOpaque(this.path(parts));
  }

  /** Hides all that the layers below have in a folder. */
  opaque(parts: string[]): void {
    makeOpaque(this.folder(parts));
  }
}
