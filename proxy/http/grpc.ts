/** What gRPC says of a call in HTTP/2: its status, and whether that is a failure of the server. */
import type { HeaderList } from '../http2/header-list.ts';

/** Codes of gRPC by number, as docs/errors-proxy.md names them. */
export const grpcStatusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

export type GrpcStatusName = (typeof grpcStatusNames)[number];

const failures = new Set<number>(
  (['UNKNOWN', 'DEADLINE_EXCEEDED', 'PERMISSION_DENIED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS'] as const).map((one) =>
    grpcStatusNames.indexOf(one),
  ),
);

const unknown = grpcStatusNames.indexOf('UNKNOWN');

/** The status in a trailer, or in a head that is all; UNKNOWN where there is none, or none of those known. */
export function readGrpcStatus(list: HeaderList | undefined): number {
  const text = list?.value('grpc-status') ?? '';
  const status = /^\d{1,2}$/.test(text) ? Number(text) : unknown;
  return status < grpcStatusNames.length ? status : unknown;
}

/** The classes that Linkerd counts against a server: its own faults, not the caller's. */
export function isGrpcFailure(status: number): boolean {
  return failures.has(status);
}

/** A message for `grpc-message`, percent-encoded as the gRPC protocol says. */
export function grpcMessage(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('');
}
