/** Cuts a byte stream into lines of bounded length. */
export class LineReader {
  readonly #limit: number;
  readonly #onLine: (line: string) => void;
  #parts: Buffer[] = [];
  #size = 0;

  /** `limit`: bytes of one line. */
  constructor(limit: number, onLine: (line: string) => void) {
    this.#limit = limit;
    this.#onLine = onLine;
  }

  /** False once a line is longer than the limit; nothing is read from then on. */
  push(chunk: Buffer): boolean {
    if (this.#size > this.#limit) return false;
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      this.#add(chunk.subarray(from, end));
      if (this.#size > this.#limit) return false;
      const line = Buffer.concat(this.#parts, this.#size).toString();
      this.#parts = [];
      this.#size = 0;
      from = end + 1;
      if (line !== '') this.#onLine(line);
    }
    this.#add(chunk.subarray(from));
    return this.#size <= this.#limit;
  }

  #add(part: Buffer): void {
    if (part.length === 0) return;
    this.#size += part.length;
    if (this.#size <= this.#limit) this.#parts.push(part);
  }
}
