/** What a program for 64-bit Linux needs from others, and the program without what only a debugger reads. */

/** `e_machine` (ELF specification, figure 4). */
const machines: Record<number, Architecture> = { 62: 'amd64', 183: 'arm64' };
const ptLoad = 1;
const ptDynamic = 2;
const ptInterp = 3;
const dtNeeded = 1n;
const dtStrtab = 5n;

export type Architecture = 'amd64' | 'arm64';

export interface Elf {
  architecture: Architecture;
  /** Path of the dynamic loader; undefined in a library. */
  interpreter?: string;
  /** File names of the shared libraries it is linked with. */
  needed: string[];
}

interface Segment {
  type: number;
  offset: number;
  address: number;
  size: number;
}

/** @throws Error where the file is no little-endian ELF64 file of a known machine */
function readSegments(file: Buffer): Segment[] {
  if (file.readUInt32BE(0) !== 0x7f454c46) throw new Error('not an ELF file');
  if (file[4] !== 2 || file[5] !== 1) throw new Error('not a 64-bit little-endian ELF file');
  const table = Number(file.readBigUInt64LE(32));
  const size = file.readUInt16LE(54);
  return Array.from({ length: file.readUInt16LE(56) }, (_, index) => {
    const at = table + index * size;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: Number(file.readBigUInt64LE(at + 16)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
}

const text = (file: Buffer, at: number): string => file.toString('latin1', at, file.indexOf(0, at));

/** @throws Error where the file is not a program or library of a machine that images are built for */
export function readElf(file: Buffer): Elf {
  const segments = readSegments(file);
  const architecture = machines[file.readUInt16LE(18)];
  if (!architecture) throw new Error(`an ELF file for machine ${file.readUInt16LE(18)}, neither amd64 nor arm64`);
  const interpreter = segments.find((one) => one.type === ptInterp);
  const entries = dynamicEntries(file, segments);
  const strings = entries.find(([tag]) => tag === dtStrtab)?.[1];
  const names = strings === undefined ? undefined : offsetOf(segments, strings);
  return {
    architecture,
    ...(interpreter ? { interpreter: text(file, interpreter.offset) } : {}),
    needed:
      names === undefined
        ? []
        : entries.filter(([tag]) => tag === dtNeeded).map(([, value]) => text(file, names + value)),
  };
}

function dynamicEntries(file: Buffer, segments: Segment[]): [tag: bigint, value: number][] {
  const dynamic = segments.find((one) => one.type === ptDynamic);
  if (!dynamic) return [];
  return Array.from({ length: dynamic.size / 16 }, (_, index) => {
    const at = dynamic.offset + index * 16;
    return [file.readBigInt64LE(at), Number(file.readBigUInt64LE(at + 8))];
  });
}

function offsetOf(segments: Segment[], address: number): number {
  const holder = segments.find(
    (one) => one.type === ptLoad && address >= one.address && address < one.address + one.size,
  );
  if (!holder) throw new Error(`address ${address} lies in no segment of the file`);
  return address - holder.address + holder.offset;
}

/**
 * The file cut after the last byte that is ever loaded, and without its section table: symbols for debuggers are a
 * fifth of Node's binary. What programs look up at run time lies in the dynamic segment, which stays.
 */
export function strip(file: Buffer): Buffer {
  const segments = readSegments(file);
  const end = Math.max(...segments.map((one) => one.offset + one.size));
  const stripped = Buffer.from(file.subarray(0, end));
  stripped.writeBigUInt64LE(0n, 40); // e_shoff
  stripped.writeUInt16LE(0, 60); // e_shnum
  stripped.writeUInt16LE(0, 62); // e_shstrndx
  return stripped;
}
