/**
 * Finds where HTTP/1.1 responses end, with as little work per response as a load generator can have. Framing as in RFC
 * 9112 section 6.3; bodies are skipped, not kept.
 */

const maxHead = 64 * 1024;

export class ResponseReader {
  #head = '';
  /** Bytes of the body, or of a chunk and its line end, still to come; Infinity: until the connection ends. */
  #left = 0;
  #state: 'head' | 'body' | 'size' | 'chunk' | 'trailer' = 'head';
  #line = '';
  status = 0;
  /** The server ends the connection after this response. */
  closes = false;

  /** Whether the response is complete with these bytes. @throws Error for what is no HTTP/1.1 response */
  read(chunk: Buffer): boolean {
    let at = 0;
    if (this.#state === 'head') {
      const before = this.#head.length;
      this.#head += chunk.toString('latin1');
      let end = this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3));
      while (end >= 0 && this.#begin(end) < 200) {
        // An interim response; the one that counts follows.
        this.#head = this.#head.slice(end + 4);
        end = this.#head.indexOf('\r\n\r\n');
      }
      if (end < 0) {
        if (this.#head.length > maxHead) throw new Error('the head of a response is too long');
        return false;
      }
      at = chunk.length - (this.#head.length - end - 4);
      this.#head = '';
    }
    return this.#body(chunk, at);
  }

  /** Whether a response that the end of the connection completes is under way. */
  get endsWithConnection(): boolean {
    return this.#state === 'body' && this.#left === Number.POSITIVE_INFINITY;
  }

  /** Takes status and framing from the head. */
  #begin(end: number): number {
    const head = `${this.#head.slice(0, end)}\r\n`;
    const status = /^HTTP\/1\.([01]) (\d{3})/.exec(head);
    if (!status) throw new Error('this is no HTTP/1.1 response');
    this.status = Number(status[2]);
    if (this.status < 200) return this.status;
    this.closes = status[1] === '0' || /\r\nconnection:[^\r]*\bclose\b/i.test(head);
    if (this.status === 204 || this.status === 304) [this.#state, this.#left] = ['body', 0];
    else if (/\r\ntransfer-encoding:[^\r]*\bchunked[ \t]*\r/i.test(head)) this.#state = 'size';
    else {
      const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(head);
      this.#state = 'body';
      this.#left = length ? Number(length[1]) : Number.POSITIVE_INFINITY;
    }
    return this.status;
  }

  #body(chunk: Buffer, at: number): boolean {
    for (;;) {
      if (this.#state === 'body' || this.#state === 'chunk') {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left > 0) return false;
        if (this.#state === 'body') {
          this.#state = 'head';
          return true;
        }
        this.#state = 'size';
      }
      const end = chunk.indexOf(10, at);
      this.#line += chunk.toString('latin1', at, end < 0 ? chunk.length : end);
      if (this.#line.length > maxHead) throw new Error('a line of a chunked response is too long');
      if (end < 0) return false;
      at = end + 1;
      const line = this.#line.trimEnd();
      this.#line = '';
      if (this.#state === 'trailer') {
        if (line !== '') continue;
        this.#state = 'head';
        return true;
      }
      const size = /^[0-9a-f]{1,12}(?=$|[; \t])/i.exec(line);
      if (!size) throw new Error('a chunk of a response has no size');
      const bytes = Number.parseInt(size[0], 16);
      if (bytes === 0) this.#state = 'trailer';
      else [this.#state, this.#left] = ['chunk', bytes + 2];
    }
  }
}
