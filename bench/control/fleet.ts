/** All simulated proxies, in load processes; and the API server's process. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type {
  ApiReady,
  Arrival,
  Changed,
  Instant,
  LoadAnswer,
  LoadMessage,
  LoadOptions,
  Progress,
} from './messages.ts';
import type { Size } from './world.ts';

const execArgv = ['--disable-warning=ExperimentalWarning'];

function start(script: string, options: object): ChildProcess {
  const child = fork(join(import.meta.dirname, script), [JSON.stringify(options)], { execArgv });
  child.once('exit', (code, signal) => {
    if (code !== 0 && signal !== 'SIGTERM') throw new Error(`${script} ended with ${signal ?? code}`);
  });
  return child;
}

async function answerOf<T>(child: ChildProcess): Promise<T> {
  const [message] = await once(child, 'message');
  return message as T;
}

export class Api {
  readonly ready: ApiReady;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, ready: ApiReady) {
    this.#child = child;
    this.ready = ready;
  }

  static async start(size: Size): Promise<Api> {
    const child = start('api.ts', size);
    return new Api(child, await answerOf<ApiReady>(child));
  }

  async change(number: number): Promise<Changed> {
    const answer = answerOf<Changed>(this.#child);
    this.#child.send({ number });
    return answer;
  }

  stop(): void {
    this.#child.kill();
  }
}

export class Fleet {
  readonly #children: ChildProcess[];
  readonly size: Size;

  private constructor(children: ChildProcess[], size: Size) {
    this.#children = children;
    this.size = size;
  }

  static async start(processes: number, options: Omit<LoadOptions, 'from' | 'to'>): Promise<Fleet> {
    const { size } = options;
    const share = (index: number) => Math.round((size.proxies * index) / processes);
    const children = Array.from({ length: processes }, (_, index) =>
      start('load.ts', { ...options, from: share(index), to: share(index + 1) } satisfies LoadOptions),
    );
    await Promise.all(children.map((child) => answerOf(child)));
    return new Fleet(children, size);
  }

  async #ask(message: LoadMessage): Promise<LoadAnswer[]> {
    return Promise.all(
      this.#children.map((child) => {
        const answer = answerOf<LoadAnswer>(child);
        child.send(message);
        return answer;
      }),
    );
  }

  async begin(): Promise<void> {
    await this.#ask({ ask: 'start' });
  }

  async progress(): Promise<Progress> {
    const all = (await this.#ask({ ask: 'progress' })).flatMap((one) => ('progress' in one ? one.progress : []));
    const sum = (field: 'certified' | 'connected' | 'complete' | 'strangers' | 'reports' | 'acknowledged') =>
      all.reduce((total, one) => total + one[field], 0);
    const last = (field: 'certifiedAt' | 'completeAt'): Instant => Math.max(...all.map((one) => one[field]));
    return {
      ...{ certified: sum('certified'), connected: sum('connected'), complete: sum('complete') },
      ...{ strangers: sum('strangers'), reports: sum('reports'), acknowledged: sum('acknowledged') },
      ...{ certifiedAt: last('certifiedAt'), completeAt: last('completeAt') },
    };
  }

  async arrivals(): Promise<Arrival[]> {
    return (await this.#ask({ ask: 'arrivals' })).flatMap((one) => ('arrivals' in one ? one.arrivals : []));
  }

  stop(): void {
    for (const child of this.#children) child.kill();
  }
}
