/** A screen that is drawn again and again: in place on a terminal, one block after the other elsewhere. */
import type { Io } from '../io.ts';

const home = '\x1b[H';
const clearScreen = '\x1b[2J';
const clearLine = '\x1b[K';
const clearBelow = '\x1b[J';
/** The cursor goes, and lines longer than the screen is wide are cut: wrapped ones would make the screen scroll. */
const begin = '\x1b[?25l\x1b[?7l';
const finish = '\x1b[?7h\x1b[?25h';

export class LiveScreen {
  readonly #io: Io;
  #drawn = false;

  constructor(io: Io) {
    this.#io = io;
  }

  /** One write per frame and no clearing of what stays, so that nothing flickers. `title` is for terminals only. */
  draw(title: string, text: string): void {
    const io = this.#io;
    if (io.stdoutIsTerminal) {
      const rows = io.streams.stdout.rows ?? 24;
      const lines = [title, '', ...text.trimEnd().split('\n')].slice(0, Math.max(1, rows - 1));
      const start = this.#drawn ? home : begin + clearScreen + home;
      io.write(`${start}${lines.map((line) => `${line}${clearLine}\n`).join('')}${clearBelow}`);
    } else {
      io.write(`${this.#drawn ? '\n' : ''}${text}`);
    }
    this.#drawn = true;
  }

  end(): void {
    if (this.#drawn && this.#io.stdoutIsTerminal) this.#io.write(finish);
  }
}
