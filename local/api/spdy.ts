/**
 * The framing of SPDY/3.1, as far as Kubernetes' port-forward uses it: streams that the client opens, data both ways.
 * Draft: draft-mbelshe-httpbis-spdy-00. There is no flow control in it; client-go neither sends nor heeds window
 * updates, so a reader that is behind holds up the whole connection.
 */
import { constants, inflateRawSync } from 'node:zlib';

const version = 3;
const control = 0x8000;
const finFlag = 1;
const synStream = 1;
const synReply = 2;
const reset = 3;
const ping = 6;
const goAway = 7;
const frameHeader = 8;
const maxFrameBytes = 1 << 20;
const windowBytes = 32_768;

/** What both ends know before the first header block (section 2.6.10.1): length-prefixed names, then plain text. */
export const headerDictionary = makeDictionary();

function makeDictionary(): Buffer {
  const names =
    'options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,accept-ranges,age,allow,authorization,cache-control,connection,content-base,content-encoding,content-language,content-length,content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,set-cookie,keep-alive,origin';
  const text =
    '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';
  return Buffer.concat([
    ...names.split(',').flatMap((name) => [uint32(name.length), Buffer.from(name)]),
    Buffer.from(text),
  ]);
}

function uint32(value: number): Buffer {
  const made = Buffer.alloc(4);
  made.writeUInt32BE(value >>> 0);
  return made;
}

/** zlib header (RFC 1950) that names the dictionary by its Adler-32. */
const zlibHeader = Buffer.from([0x78, 0x20 | (31 - ((0x78 * 256 + 0x20) % 31)), 0xe3, 0xc6, 0xa7, 0xc2]);

/** Header blocks of one direction share one compression context. */
class HeaderReader {
  #window: Buffer = headerDictionary;
  #first = true;

  read(block: Buffer): Map<string, string> {
    const compressed = this.#first ? block.subarray(zlibHeader.length) : block;
    this.#first = false;
    // Each block is flushed to a byte boundary: raw deflate that may point back into what came before.
    const plain = inflateRawSync(compressed, {
      dictionary: this.#window,
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: maxFrameBytes,
    });
    this.#window = Buffer.concat([this.#window, plain]).subarray(-windowBytes);
    const headers = new Map<string, string>();
    let at = 4;
    const text = (): string => {
      const length = plain.readUInt32BE(at);
      at += 4 + length;
      return plain.toString('utf8', at - length, at);
    };
    for (let left = plain.readUInt32BE(0); left > 0; left--) headers.set(text().toLowerCase(), text());
    return headers;
  }
}

/** One stream, opened by the client. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes from the client; undefined when it has sent all. */
  onData: (data: Buffer | undefined) => void;
  /** The client has given the stream up. */
  onReset: () => void;
}

export class SpdyConnection {
  readonly #send: (frame: Buffer, sent?: () => void) => void;
  readonly #accept: (stream: SpdyStream) => void;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #headers = new HeaderReader();
  #held: Buffer = Buffer.alloc(0);
  #replied = false;

  /** `send` takes whole frames for the client and calls back when it can take more. */
  constructor(send: (frame: Buffer, sent?: () => void) => void, accept: (stream: SpdyStream) => void) {
    this.#send = send;
    this.#accept = accept;
  }

  /** Takes the next bytes of the client, however they are cut. @throws Error where they are no SPDY */
  receive(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= frameHeader) {
      const length = this.#held.readUIntBE(5, 3);
      if (length > maxFrameBytes) throw new Error(`a SPDY frame of ${length} bytes is too large`);
      if (this.#held.length < frameHeader + length) return;
      const frame = this.#held.subarray(0, frameHeader + length);
      this.#held = this.#held.subarray(frame.length);
      if (frame.readUInt16BE(0) & control) this.#control(frame);
      else this.#data(frame);
    }
  }

  /** Sends bytes of a stream; `sent` is called when more may follow. */
  write(stream: SpdyStream, data: Buffer, sent?: () => void): void {
    this.#send(Buffer.concat([uint32(stream.id), uint32(data.length), data]), sent);
  }

  /** Says that nothing more comes on a stream. */
  end(stream: SpdyStream): void {
    this.#send(Buffer.concat([uint32(stream.id), uint32(finFlag << 24)]));
  }

  reset(stream: SpdyStream): void {
    this.#streams.delete(stream.id);
    const cancel = 5;
    this.#sendControl(reset, Buffer.concat([uint32(stream.id), uint32(cancel)]));
  }

  #sendControl(type: number, payload: Buffer): void {
    const header = Buffer.alloc(frameHeader);
    header.writeUInt16BE(control | version, 0);
    header.writeUInt16BE(type, 2);
    header.writeUIntBE(payload.length, 5, 3);
    this.#send(Buffer.concat([header, payload]));
  }

  #data(frame: Buffer): void {
    const stream = this.#streams.get(frame.readUInt32BE(0));
    if (!stream) return; // reset meanwhile: what was on its way is dropped
    if (frame.length > frameHeader) stream.onData(frame.subarray(frameHeader));
    if (frame[4]! & finFlag) stream.onData(undefined);
  }

  #control(frame: Buffer): void {
    const spoken = frame.readUInt16BE(0) & ~control;
    if (spoken !== version) throw new Error(`SPDY version ${spoken} is not spoken here`);
    const type = frame.readUInt16BE(2);
    const payload = frame.subarray(frameHeader);
    if (type === synStream) this.#open(payload, (frame[4]! & finFlag) !== 0);
    else if (type === ping) this.#sendControl(ping, payload);
    else if (type === reset) {
      const id = payload.readUInt32BE(0);
      const stream = this.#streams.get(id);
      this.#streams.delete(id);
      stream?.onReset();
    }
    // GOAWAY is followed by the end of the connection; settings and window updates change nothing here.
  }

  #open(payload: Buffer, ended: boolean): void {
    const id = payload.readUInt32BE(0) & 0x7fffffff;
    const headers = this.#headers.read(payload.subarray(10));
    const stream: SpdyStream = { id, headers, onData: () => {}, onReset: () => {} };
    this.#streams.set(id, stream);
    this.#sendControl(synReply, Buffer.concat([uint32(id), this.#noHeaders()]));
    this.#accept(stream);
    if (ended) stream.onData(undefined);
  }

  /** A block of no headers, as stored deflate blocks: four bytes that say zero, then the empty block of a flush. */
  #noHeaders(): Buffer {
    const stored = Buffer.from([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    const block = this.#replied ? stored : Buffer.concat([zlibHeader, stored]);
    this.#replied = true;
    return block;
  }

  /** Tells the client that no stream is taken any more. */
  goAway(): void {
    this.#sendControl(goAway, Buffer.concat([uint32(Math.max(0, ...this.#streams.keys())), uint32(0)]));
  }
}
