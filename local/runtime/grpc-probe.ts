/** The health check that gRPC services offer (grpc.health.v1.Health/Check), as Kubernetes' gRPC probes ask for it. */
import { connect } from 'node:http2';

const serving = 1;

/** `HealthCheckRequest`: field 1 is the service's name. */
function requestOf(service: string): Buffer {
  const name = Buffer.from(service);
  const message =
    name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
}

/** `HealthCheckResponse`: field 1 is the status; absent it is 0, unknown. */
function statusOf(reply: Buffer): number {
  const at = reply.indexOf(0x08, 5);
  return at === 5 ? (reply[6] ?? 0) : 0;
}

/** undefined where the service says it serves, else why not. */
export function askGrpc(host: string, port: number, service: string, seconds: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const session = connect(`http://${host}:${port}`);
    const timer = setTimeout(() => done('context deadline exceeded'), seconds * 1_000);
    const done = (outcome: string | undefined): void => {
      clearTimeout(timer);
      session.destroy();
      resolve(outcome);
    };
    session.once('error', (error) => done(error.message));
    const call = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      'user-agent': 'kube-probe/1.33',
    });
    let reply = Buffer.alloc(0);
    let code: string | undefined;
    const note = (headers: Record<string, unknown>): void => {
      code = (headers['grpc-status'] as string | undefined) ?? code;
    };
    call.on('response', note);
    call.on('trailers', note);
    call.on('data', (chunk: Buffer) => {
      reply = Buffer.concat([reply, chunk.subarray(0, 1_024)]);
    });
    call.once('error', (error) => done(error.message));
    call.once('close', () => {
      if (code !== '0') done(code === undefined ? 'no gRPC answer' : `gRPC probe failed with status code ${code}`);
      else done(statusOf(reply) === serving ? undefined : `service unhealthy (responded with ${statusOf(reply)})`);
    });
    call.end(requestOf(service));
  });
}
