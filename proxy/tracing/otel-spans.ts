/** Finished spans in the shape that OpenTelemetry's exporter takes, named by its semantic conventions. */
import {
  type Attributes,
  createTraceState,
  type HrTime,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
} from '@opentelemetry/api';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import * as name from '@opentelemetry/semantic-conventions';
import { grpcStatusNames } from '../http/grpc.ts';
import type { FinishedSpan, SpanSource } from './span.ts';

export function resourceOf({ pod, namespace, node, workload, version }: SpanSource): Resource {
  const [kind = 'pod', owner = pod] = workload.split('/');
  return resourceFromAttributes({
    [name.ATTR_SERVICE_NAME]: owner,
    [name.ATTR_SERVICE_NAMESPACE]: namespace,
    [name.ATTR_SERVICE_INSTANCE_ID]: `${namespace}.${pod}`,
    [name.ATTR_K8S_NAMESPACE_NAME]: namespace,
    [name.ATTR_K8S_POD_NAME]: pod,
    ...(node === '' ? {} : { [name.ATTR_K8S_NODE_NAME]: node }),
    ...(kind === 'pod' ? {} : { [`k8s.${kind}.name`]: owner }),
    [name.ATTR_TELEMETRY_DISTRO_NAME]: 'mesh',
    [name.ATTR_TELEMETRY_DISTRO_VERSION]: version,
  });
}

/** Not called stable yet, unlike the rest of the names for RPC. */
const rpcStatus = 'rpc.response.status_code';

/**
 * HTTP methods that the conventions know: any other would make a name of its own (semantic conventions for HTTP). Node's
 * METHODS has those of WebDAV too, and of the package's names QUERY is not stable yet.
 */
const methods = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']);

/** gRPC statuses that are the server's fault, by the conventions for RPC. */
const serverFaults = new Set(['UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']);

export function otelSpan(span: FinishedSpan, resource: Resource): ReadableSpan {
  const { traceId, parentSpanId, kind } = span;
  const traceState = span.traceState === undefined ? undefined : createTraceState(span.traceState);
  const context = (spanId: string): SpanContext => ({
    traceId,
    spanId,
    traceFlags: TraceFlags.SAMPLED,
    ...(traceState ? { traceState } : {}),
  });
  const error = errorOf(span);
  return {
    name: nameOf(span),
    kind: kind === 'server' ? SpanKind.SERVER : SpanKind.CLIENT,
    spanContext: () => context(span.spanId),
    ...(parentSpanId === undefined ? {} : { parentSpanContext: { ...context(parentSpanId), isRemote: true } }),
    startTime: time(span.start),
    endTime: time(span.start + span.durationMs),
    duration: time(span.durationMs),
    status: error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR },
    attributes: { ...attributesOf(span), ...(error === undefined ? {} : { [name.ATTR_ERROR_TYPE]: error }) },
    links: [],
    events: [],
    ended: true,
    resource,
    instrumentationScope: { name: 'mesh-proxy' },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

/** Seconds and nanoseconds. */
function time(milliseconds: number): HrTime {
  const seconds = Math.floor(milliseconds / 1000);
  return [seconds, Math.round((milliseconds - seconds * 1000) * 1e6)];
}

function nameOf({ protocol, method, path }: FinishedSpan): string {
  if (protocol === 'grpc') return path.slice(1);
  return methods.has(method) ? method : 'HTTP';
}

function errorOf({ kind, protocol, status, grpcStatus, error }: FinishedSpan): string | undefined {
  if (error !== undefined) return error;
  if (protocol === 'grpc') {
    const text = grpcStatusNames[grpcStatus];
    const failed = kind === 'client' ? text !== 'OK' : text === undefined || serverFaults.has(text);
    return failed ? (text ?? 'CANCELLED') : undefined;
  }
  return status >= (kind === 'client' ? 400 : 500) ? String(status) : undefined;
}

function attributesOf(span: FinishedSpan): Attributes {
  const { authority, peer, service } = span;
  const server = split(authority);
  const other = split(peer ?? '');
  return {
    ...(span.protocol === 'grpc' ? rpcAttributes(span) : httpAttributes(span)),
    [name.ATTR_NETWORK_PROTOCOL_NAME]: 'http',
    [name.ATTR_NETWORK_PROTOCOL_VERSION]: span.protocol === 'http1' ? '1.1' : '2',
    [name.ATTR_SERVER_ADDRESS]: server.host,
    [name.ATTR_SERVER_PORT]: server.port,
    [name.ATTR_CLIENT_ADDRESS]: span.clientAddress,
    [name.ATTR_NETWORK_PEER_ADDRESS]: other.host,
    [name.ATTR_NETWORK_PEER_PORT]: other.port,
    [name.ATTR_HTTP_REQUEST_RESEND_COUNT]: span.attempts > 1 ? span.attempts - 1 : undefined,
    'mesh.request_id': span.requestId || undefined,
    'mesh.service': service ?? undefined,
    'mesh.peer.workload': workload(span),
    'mesh.peer.identity': span.peerIdentity ?? undefined,
  };
}

function httpAttributes({ kind, method, authority, path, status }: FinishedSpan): Attributes {
  const known = methods.has(method);
  return {
    [name.ATTR_HTTP_REQUEST_METHOD]: known ? method : name.HTTP_REQUEST_METHOD_VALUE_OTHER,
    [name.ATTR_HTTP_REQUEST_METHOD_ORIGINAL]: known ? undefined : method,
    [name.ATTR_HTTP_RESPONSE_STATUS_CODE]: status > 0 ? status : undefined,
    ...(kind === 'client'
      ? { [name.ATTR_URL_FULL]: `http://${authority}${path}` }
      : { [name.ATTR_URL_PATH]: path, [name.ATTR_URL_SCHEME]: 'http' }),
  };
}

function rpcAttributes({ path, grpcStatus }: FinishedSpan): Attributes {
  return {
    [name.ATTR_RPC_SYSTEM_NAME]: name.RPC_SYSTEM_NAME_VALUE_GRPC,
    [name.ATTR_RPC_METHOD]: path.slice(1),
    [rpcStatus]: grpcStatusNames[grpcStatus],
  };
}

const workload = ({ peerWorkload: of }: FinishedSpan): string | undefined =>
  of ? `${of.namespace}/${of.kind}/${of.name}` : undefined;

function split(authority: string): { host?: string; port?: number } {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(authority);
  if (!match?.[1]) return {};
  return { host: match[1].replace(/^\[|\]$/g, ''), ...(match[2] ? { port: Number(match[2]) } : {}) };
}
