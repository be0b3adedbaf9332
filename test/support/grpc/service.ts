/** The service of the gRPC tests: messages are bytes as they are. */
import type { MethodDefinition } from '@grpc/grpc-js';

const same = (bytes: Buffer) => bytes;

function method(name: string, requestStream = false, responseStream = false): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/mesh.test.Interop/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

export const methods = {
  Unary: method('Unary'),
  /** The same, answered in gzip by servers that can. */
  Compressed: method('Compressed'),
  Fail: method('Fail'),
  Sleep: method('Sleep'),
  Cancelled: method('Cancelled'),
  Stop: method('Stop'),
  Collect: method('Collect', true),
  Repeat: method('Repeat', false, true),
  Chat: method('Chat', true, true),
  /** No server has it. */
  Absent: method('Absent'),
};
