/** An entry of the access log as a line: JSON, or the Common Log Format of NCSA and Apache. */
import { accessLogFormats } from '../../protocol/diagnostics.ts';
import type { Workload } from '../../protocol/discovery.ts';
import type { Entry } from './entry.ts';

export type AccessLogFormat = (typeof accessLogFormats)[number];

export function isAccessLogFormat(text: string): text is AccessLogFormat {
  return (accessLogFormats as readonly string[]).includes(text);
}

const workload = (of: Workload | null): string | undefined =>
  of ? `${of.namespace}/${of.kind}/${of.name}` : undefined;
const tenth = (milliseconds: number): number => Math.round(milliseconds * 10) / 10;

/** What is not known is left out. */
export function jsonLine(entry: Entry): string {
  const { request } = entry;
  const line = {
    time: new Date(entry.time).toISOString(),
    direction: entry.direction,
    protocol: entry.protocol,
    client: workload(entry.client.workload),
    client_address: entry.clientAddress ?? undefined,
    client_identity: entry.client.identity ?? undefined,
    server: workload(entry.server.workload),
    server_identity: entry.server.identity ?? undefined,
    service: entry.service ?? undefined,
    method: request?.method,
    authority: request?.authority,
    path: request?.path,
    status: request?.status || undefined,
    grpc_status: request?.grpcStatus ?? undefined,
    request_bytes: entry.requestBytes,
    response_bytes: entry.responseBytes,
    duration_ms: tenth(entry.durationMs),
    first_byte_ms: request?.firstByteMs == null ? undefined : tenth(request.firstByteMs),
    attempts: request?.attempts,
    endpoint: entry.endpoint ?? undefined,
    error: entry.error ?? undefined,
    request_id: request?.requestId || undefined,
    trace_id: request?.traceId || undefined,
  };
  return `${JSON.stringify(line)}\n`;
}

const versions = { http1: 'HTTP/1.1', http2: 'HTTP/2.0', grpc: 'HTTP/2.0', tcp: '' };
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `host ident user [time] "request" status bytes`; a connection has `TCP endpoint` for its request. */
export function commonLine(entry: Entry): string {
  const { client, clientAddress, request } = entry;
  const asked = request
    ? `${request.method} ${request.path} ${versions[entry.protocol]}`
    : `TCP ${entry.endpoint ?? '-'}`;
  const who = `${workload(client.workload) ?? clientAddress ?? '-'} - ${client.identity ?? '-'}`;
  const status = request?.status || '-';
  return `${who} [${clock(entry.time)}] "${quoted(asked)}" ${status} ${entry.responseBytes}\n`;
}

function clock(time: number): string {
  const date = new Date(time);
  const text = date.toISOString();
  return `${text.slice(8, 10)}/${months[date.getUTCMonth()]}/${text.slice(0, 4)}:${text.slice(11, 19)} +0000`;
}

/** As Apache does, so that no request can write a line of its own. */
function quoted(text: string): string {
  return text.replace(/["\\]|[^\x20-\x7e]/g, (one) =>
    one === '"' || one === '\\' ? `\\${one}` : `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
