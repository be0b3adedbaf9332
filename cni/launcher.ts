/**
 * `mesh-cni` itself: a program of a few dozen instructions that becomes another one, with fixed arguments and its own
 * environment. A node need not hold a shell, and a script cannot name a loader together with its options.
 */

const base = 0x400000n;
const fileHeaderSize = 64;
const programHeaderSize = 56;
const codeAt = fileHeaderSize + 2 * programHeaderSize;

/** Addresses of what the code refers to. */
interface Operands {
  path: bigint;
  argv: bigint;
  message: bigint;
  messageSize: bigint;
}

interface Machine {
  /** e_machine */
  number: number;
  /** execve(path, argv, the environment as it came); where that fails: write(1, message), exit(1). */
  code(operands: Operands): Buffer;
}

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

function u64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer;
}

function words(...instructions: number[]): Buffer {
  const buffer = Buffer.alloc(4 * instructions.length);
  instructions.forEach((one, index) => {
    buffer.writeUInt32LE(one, 4 * index);
  });
  return buffer;
}

/** At the entry the stack holds argc, argv, NULL, envp (System V ABI, of both machines). */
const x64: Machine = {
  number: 62,
  code: ({ path, argv, message, messageSize }) =>
    Buffer.concat([
      bytes('48 8b 04 24'), // mov rax, [rsp]
      bytes('48 8d 54 c4 10'), // lea rdx, [rsp + rax * 8 + 16]
      bytes('48 bf'), // mov rdi, path
      u64(path),
      bytes('48 be'), // mov rsi, argv
      u64(argv),
      bytes('b8 3b 00 00 00 0f 05'), // mov eax, 59 (execve); syscall
      bytes('48 be'), // mov rsi, message
      u64(message),
      bytes('48 ba'), // mov rdx, messageSize
      u64(messageSize),
      bytes('bf 01 00 00 00 b8 01 00 00 00 0f 05'), // mov edi, 1; mov eax, 1 (write); syscall
      bytes('bf 01 00 00 00 b8 3c 00 00 00 0f 05'), // mov edi, 1; mov eax, 60 (exit); syscall
    ]),
};

/** `ldr xREGISTER, [pc + 4 * distance]` */
const literal = (register: number, distance: number): number => (0x58000000 | (distance << 5) | register) >>> 0;

const arm64: Machine = {
  number: 183,
  code: ({ path, argv, message, messageSize }) => {
    const size = 16;
    const code = words(
      0xf94003e3, // ldr x3, [sp]
      0x8b236fe2, // add x2, sp, x3, uxtx #3
      0x91004042, // add x2, x2, #16
      literal(0, size - 3), // ldr x0, path
      literal(1, size + 2 - 4), // ldr x1, argv
      0xd2801ba8, // mov x8, #221 (execve)
      0xd4000001, // svc #0
      0xd2800020, // mov x0, #1
      literal(1, size + 4 - 8), // ldr x1, message
      literal(2, size + 6 - 9), // ldr x2, messageSize
      0xd2800808, // mov x8, #64 (write)
      0xd4000001, // svc #0
      0xd2800020, // mov x0, #1
      0xd2800ba8, // mov x8, #93 (exit)
      0xd4000001, // svc #0
      0xd503201f, // nop: the addresses below lie at a multiple of eight
    );
    return Buffer.concat([code, u64(path), u64(argv), u64(message), u64(messageSize)]);
  },
};

const machines: Partial<Record<NodeJS.Architecture, Machine>> = { x64, arm64 };

/**
 * The program, as an ELF file. `message` goes to stdout where the command cannot be started.
 * @throws Error for a machine it knows no instructions of
 */
export function launcher(architecture: NodeJS.Architecture, command: readonly string[], message: string): Buffer {
  const machine = machines[architecture];
  if (!machine) throw new Error(`no launcher can be made for ${architecture}`);
  const strings = command.map((one) => Buffer.from(`${one}\0`));
  const said = Buffer.from(`${message}\n`);
  const none = { path: 0n, argv: 0n, message: 0n, messageSize: 0n };
  // Both machines' code has one length, whatever the addresses are.
  const argvAt = codeAt + Math.ceil(machine.code(none).length / 8) * 8;
  let at = argvAt + 8 * (strings.length + 1);
  const addresses = strings.map((one) => {
    const address = base + BigInt(at);
    at += one.length;
    return address;
  });
  const code = machine.code({
    path: addresses[0]!,
    argv: base + BigInt(argvAt),
    message: base + BigInt(at),
    messageSize: BigInt(said.length),
  });
  const size = at + said.length;
  const file = Buffer.concat([
    headers(machine.number, size),
    code,
    Buffer.alloc(argvAt - codeAt - code.length),
    ...addresses.map(u64),
    u64(0n),
    ...strings,
    said,
  ]);
  return file;
}

function headers(machine: number, size: number): Buffer {
  const header = Buffer.alloc(codeAt);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bits, little-endian, version 1
  header.writeUInt16LE(2, 16); // e_type: EXEC
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20); // e_version
  header.writeBigUInt64LE(base + BigInt(codeAt), 24); // e_entry
  header.writeBigUInt64LE(BigInt(fileHeaderSize), 32); // e_phoff
  header.writeUInt16LE(fileHeaderSize, 52); // e_ehsize
  header.writeUInt16LE(programHeaderSize, 54); // e_phentsize
  header.writeUInt16LE(2, 56); // e_phnum
  header.writeUInt16LE(64, 58); // e_shentsize
  segment(header, fileHeaderSize, { type: 1, flags: 5, size, align: 0x10000n }); // PT_LOAD, R and X
  segment(header, fileHeaderSize + programHeaderSize, { type: 0x6474e551, flags: 6, size: 0, align: 16n }); // PT_GNU_STACK, not X
  return header;
}

interface Segment {
  type: number;
  flags: number;
  size: number;
  align: bigint;
}

function segment(header: Buffer, at: number, { type, flags, size, align }: Segment): void {
  header.writeUInt32LE(type, at);
  header.writeUInt32LE(flags, at + 4);
  header.writeBigUInt64LE(size > 0 ? base : 0n, at + 16); // p_vaddr
  header.writeBigUInt64LE(size > 0 ? base : 0n, at + 24); // p_paddr
  header.writeBigUInt64LE(BigInt(size), at + 32); // p_filesz
  header.writeBigUInt64LE(BigInt(size), at + 40); // p_memsz
  header.writeBigUInt64LE(align, at + 48);
}
