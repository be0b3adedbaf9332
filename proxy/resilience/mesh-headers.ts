/**
 * What proxies tell each other about a request, in headers whose names begin with `mesh-`. They go to meshed peers only;
 * an application may hand the first two on with the requests it makes in turn.
 */
import { type Exchange, editRequest, editResponse } from '../http/exchange.ts';

/** Request: the time left for it, in milliseconds. */
const deadlineHeader = 'mesh-deadline';
/** Request: it is a retry, and the how manieth. Response: `in-vain`, see call-chain.ts. */
export const retryHeader = 'mesh-retry';
export const inVain = 'in-vain';

/** Of gRPC, to any peer: at most eight digits and a unit. */
const grpcTimeoutHeader = 'grpc-timeout';

const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds; undefined where it is absent or malformed. */
export function parseGrpcTimeout(text: string | undefined): number | undefined {
  const match = text === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(text);
  return match ? Number(match[1]) * unitMs[match[2]!]! : undefined;
}

export function formatGrpcTimeout(ms: number): string {
  const whole = Math.max(0, Math.floor(ms));
  return whole < 1e8 ? `${whole}m` : `${Math.min(99_999_999, Math.floor(whole / 1_000))}S`;
}

/** Milliseconds; undefined where it is absent or malformed. */
export function parseDeadline(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Milliseconds that a request says it has left, the least where both of these headers say so; Infinity where none does. */
export function timeLeft({ request, grpc }: Exchange): number {
  const ofPeer = request.fromMesh ? parseDeadline(request.value(deadlineHeader)) : undefined;
  const ofCall = grpc ? parseGrpcTimeout(request.value(grpcTimeoutHeader)) : undefined;
  return Math.min(ofPeer ?? Number.POSITIVE_INFINITY, ofCall ?? Number.POSITIVE_INFINITY);
}

/** Sets what the next try says of itself to its server. `meshed`: a proxy stands before that. */
export function tellServer(exchange: Exchange, meshed: boolean): void {
  const { deadline, retries, grpc, request, requestEdit } = exchange;
  const left = deadline > 0 ? Math.max(0, Math.floor(deadline - performance.now())) : undefined;
  if (grpc && left !== undefined) editRequest(exchange).set(grpcTimeoutHeader, formatGrpcTimeout(left));
  if (meshed) {
    if (left !== undefined) editRequest(exchange).set(deadlineHeader, String(left));
    if (retries > 0) editRequest(exchange).set(retryHeader, String(retries));
  } else if (request.fromMesh || requestEdit) {
    editRequest(exchange).drop(deadlineHeader);
    editRequest(exchange).drop(retryHeader);
  }
}

/** What a proxy said of its application's failure is not for the client's. */
export function hideAnswer(exchange: Exchange): void {
  if (exchange.response?.value(retryHeader) !== undefined) editResponse(exchange).drop(retryHeader);
}
