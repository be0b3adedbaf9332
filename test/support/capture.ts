/** Reads what tcpdump writes: TCP streams put together again, and the TLS records in them. */

export interface TcpStream {
  addresses: [client: string, server: string];
  serverPort: number;
  fromClient: Buffer;
  fromServer: Buffer;
}

interface Side {
  /** Sequence number of the SYN. */
  start: number;
  parts: Map<number, Buffer>;
}

/** The TCP connections that were opened within a capture of Ethernet and IPv4 (pcap, little endian). */
export function tcpStreams(capture: Buffer): TcpStream[] {
  const sides = new Map<string, Side>();
  const opened: { client: string; server: string }[] = [];
  for (let at = 24; at + 16 <= capture.length; ) {
    const size = capture.readUInt32LE(at + 8);
    const packet = capture.subarray(at + 16, at + 16 + size);
    at += 16 + size;
    if (packet.length < size || packet.readUInt16BE(12) !== 0x0800) continue;
    const ip = packet.subarray(14);
    if (ip[9] !== 6) continue;
    const tcp = ip.subarray((ip[0]! & 15) * 4, ip.readUInt16BE(2));
    const source = `${[...ip.subarray(12, 16)].join('.')}:${tcp.readUInt16BE(0)}`;
    const target = `${[...ip.subarray(16, 20)].join('.')}:${tcp.readUInt16BE(2)}`;
    const sequence = tcp.readUInt32BE(4);
    const [syn, ack] = [(tcp[13]! & 2) > 0, (tcp[13]! & 16) > 0];
    const key = `${source} ${target}`;
    if (syn && !sides.has(key)) {
      sides.set(key, { start: sequence, parts: new Map() });
      if (!ack) opened.push({ client: source, server: target });
      continue;
    }
    const side = sides.get(key);
    const body = tcp.subarray((tcp[12]! >> 4) * 4);
    if (side && body.length > 0) side.parts.set((sequence - side.start - 1) >>> 0, body);
  }
  return opened.map(({ client, server }) => ({
    addresses: [client.split(':')[0]!, server.split(':')[0]!],
    serverPort: Number(server.split(':')[1]),
    fromClient: join(sides.get(`${client} ${server}`)),
    fromServer: join(sides.get(`${server} ${client}`)),
  }));
}

/** @throws Error where a part of the stream was not captured */
function join(side: Side | undefined): Buffer {
  const parts = [...(side?.parts ?? [])].sort(([a], [b]) => a - b);
  let joined = Buffer.alloc(0);
  for (const [at, body] of parts) {
    if (at > joined.length) throw new Error(`the capture lacks bytes ${joined.length} to ${at} of a stream`);
    joined = Buffer.concat([joined, body.subarray(joined.length - at)]);
  }
  return joined;
}

export interface TlsRecord {
  type: number;
  version: number;
  body: Buffer;
}

/** The records of one direction (RFC 8446 section 5.1); `rest`: bytes behind the last whole one. */
export function tlsRecords(stream: Buffer): { records: TlsRecord[]; rest: number } {
  const records: TlsRecord[] = [];
  let at = 0;
  while (at + 5 <= stream.length) {
    const end = at + 5 + stream.readUInt16BE(at + 3);
    if (end > stream.length) break;
    records.push({ type: stream[at]!, version: stream.readUInt16BE(at + 1), body: stream.subarray(at + 5, end) });
    at = end;
  }
  return { records, rest: stream.length - at };
}
