/** nft in the network namespace of a pod, by the copies that lie beside the plugin. */
import { spawnSync } from 'node:child_process';
import { dlopen } from 'node:ffi';
import { closeSync, openSync, writeFileSync } from 'node:fs';
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
  readonly #warn: (why: string) => void;

  /** `folder`: where the copies are. */
  constructor(folder: string, warn: (why: string) => void) {
    this.#folder = folder;
    this.#warn = warn;
  }

  write(netns: string, skipped: SkippedPorts): void {
    enter(netns);
    this.#reusePorts();
    writeRules((script) => this.#nft(script, '-f', '-'), skipped);
  }

  /**
   * A port in TIME_WAIT may be dialled from again after a second. The proxy dials the application once for each connection of
   * its clients: where those close first and come a few hundred times per second, it would have no ports left.
   */
  #reusePorts(): void {
    try {
      writeFileSync('/proc/sys/net/ipv4/tcp_tw_reuse', '1');
    } catch (error) {
      this.#warn(`ports in TIME_WAIT cannot be used again: ${(error as Error).message}`);
    }
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
