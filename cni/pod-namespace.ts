/** nft in the network namespace of a pod, by the copies that lie beside the plugin. */
import { spawnSync } from 'node:child_process';
import { dlopen } from 'node:ffi';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { SkippedPorts } from '../protocol/redirect.ts';
import { type NftResult, writeRules } from '../proxy/net/write-rules.ts';
import { loaded } from './layout.ts';

/** linux/sched.h */
const CLONE_NEWNET = 0x40000000;

/**
 * This thread, and what it starts from now on, into a network namespace: for a process that serves one pod and ends.
 * @throws Error
 */
function enter(netns: string): void {
  const { functions } = dlopen(null, { setns: { arguments: ['int32', 'int32'], return: 'int32' } });
  const setns = functions.setns as (fd: number, type: number) => number;
  const fd = openSync(netns, 'r');
  try {
    if (setns(fd, CLONE_NEWNET) !== 0) throw new Error(`network namespace ${netns} cannot be entered`);
  } finally {
    closeSync(fd);
  }
}

export class PodNamespace {
  readonly #folder: string;

  /** `folder`: where the copies are. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  write(netns: string, skipped: SkippedPorts): void {
    enter(netns);
    writeRules((script) => this.#nft(script, '-f', '-'), skipped);
  }

  has(netns: string): boolean {
    enter(netns);
    const { error, status } = this.#nft('', 'list', 'table', 'inet', 'mesh');
    if (error) throw error;
    return status === 0;
  }

  #nft(input: string, ...args: string[]): NftResult {
    const [loader, ...rest] = loaded(this.#folder, join(this.#folder, 'nft'), ...args);
    return spawnSync(loader!, rest, { input, encoding: 'utf8', timeout: 10_000 });
  }
}
