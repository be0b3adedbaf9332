/** Cluster DNS: names of Services and pods as the Kubernetes DNS specification has them, everything else from outside. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';
import { type Answer, type DecodedPacket, decode, encode, type Question } from 'dns-packet';
import { resources } from '../../kube/resources.ts';
import type { KubeObject } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import { clusterDomain } from './addresses.ts';

const ttl = 5;
const authoritative = 1 << 10;
const recursionAvailable = 1 << 7;
const nameError = 3;
const serverFailure = 2;
/** Aliases may lead in a circle. */
const longestChain = 8;
const reverse = '.in-addr.arpa';
/** Reverse zones of pods and services. */
const ourNetworks = [`.244.10${reverse}`, `.96.10${reverse}`];
/** RFC 1035 §4.2.1: what a client takes over UDP unless it says more (RFC 6891), and what one packet holds. */
const plainSize = 512;
const packetSize = 1232;

/** Sends a query (wire form) to the resolvers outside and gives back the answer. */
export type Upstream = (query: Buffer) => Promise<Buffer>;

interface Endpoint {
  address: string;
  host: string;
  ports: { name?: string; port: number; protocol?: string }[];
}

function endpointsOf(objects: Objects, service: KubeObject): Endpoint[] {
  const { namespace, name } = service.metadata;
  const slices = objects.list(resources.endpointSlices, {
    ...(namespace ? { namespace } : {}),
    labels: { 'kubernetes.io/service-name': name ?? '' },
  });
  return slices.flatMap((slice) =>
    (slice.endpoints ?? [])
      .filter((one: KubeObject) => one.conditions?.ready !== false || service.spec.publishNotReadyAddresses)
      .map((one: KubeObject) => ({
        address: one.addresses[0],
        host: one.hostname ?? one.addresses[0].replaceAll('.', '-'),
        ports: slice.ports ?? [],
      })),
  );
}

/** Answers to one question; undefined where no such name is in the cluster, empty where it has no such record. */
function answer(objects: Objects, question: Question): Answer[] | undefined {
  const name = question.name.toLowerCase();
  if (name.endsWith(reverse)) return reverseAnswer(objects, question);
  const suffix = `.${clusterDomain}`;
  const parts = name.slice(0, -suffix.length).split('.');
  const kind = parts.pop();
  const namespace = parts.pop();
  if (!namespace) return kind === 'svc' || kind === 'pod' ? [] : undefined;
  const address = (data: string, owner = question.name): Answer => ({ type: 'A', name: owner, ttl, data });
  if (kind === 'pod') {
    const ip = parts.join('.').replaceAll('-', '.');
    const known = objects.list(resources.pods, { namespace }).some((pod) => pod.status?.podIP === ip);
    if (!known) return undefined;
    return question.type === 'A' ? [address(ip)] : [];
  }
  const serviceName = parts.pop();
  if (kind !== 'svc') return undefined;
  if (!serviceName) return objects.get(resources.namespaces, namespace) ? [] : undefined;
  const service = objects.get(resources.services, serviceName, namespace);
  if (!service) return undefined;
  if (service.spec.type === 'ExternalName')
    return [{ type: 'CNAME', name: question.name, ttl, data: service.spec.externalName }];
  const headless = !service.spec.clusterIP || service.spec.clusterIP === 'None';
  const base = `${serviceName}.${namespace}.svc${suffix}`;
  if (parts.length === 2 && parts[0]?.startsWith('_')) {
    const [portName, protocol] = parts.map((part) => part.slice(1));
    const record = (port: number, target: string): Answer => ({
      type: 'SRV',
      name: question.name,
      ttl,
      data: { port, target, weight: 100, priority: 0 },
    });
    const matching = <T extends { name?: string; protocol?: string }>(ports: T[]): T[] =>
      ports.filter((port) => port.name === portName && (port.protocol ?? 'TCP').toLowerCase() === protocol);
    const found = headless
      ? endpointsOf(objects, service).flatMap((one) =>
          matching(one.ports).map((port) => record(port.port, `${one.host}.${base}`)),
        )
      : matching<{ name?: string; protocol?: string; port: number }>(service.spec.ports ?? []).map((port) =>
          record(port.port, base),
        );
    if (found.length === 0) return undefined;
    return question.type === 'SRV' ? found : [];
  }
  if (parts.length > 1) return undefined;
  const [host] = parts;
  if (host === undefined && !headless) return question.type === 'A' ? [address(service.spec.clusterIP)] : [];
  const chosen = endpointsOf(objects, service).filter((one) => host === undefined || one.host === host);
  if (host !== undefined && chosen.length === 0) return undefined;
  return question.type === 'A' ? chosen.map((one) => address(one.address)) : [];
}

/** The name of a service address, or of an endpoint of a headless service. */
function reverseAnswer(objects: Objects, question: Question): Answer[] | undefined {
  const address = question.name.toLowerCase().slice(0, -reverse.length).split('.').reverse().join('.');
  const services = objects.list(resources.services);
  const base = ({ metadata }: KubeObject): string => `${metadata.name}.${metadata.namespace}.svc.${clusterDomain}`;
  const names = services.filter((one) => one.spec.clusterIP === address).map(base);
  for (const service of services.filter((one) => one.spec.clusterIP === 'None'))
    for (const one of endpointsOf(objects, service))
      if (one.address === address) names.push(`${one.host}.${base(service)}`);
  if (names.length === 0) return undefined;
  return question.type === 'PTR' ? names.map((data) => ({ type: 'PTR', name: question.name, ttl, data })) : [];
}

/** Whether the cluster alone knows about a name. */
function isOurs(name: string): boolean {
  return name === clusterDomain || name.endsWith(`.${clusterDomain}`) || ourNetworks.some((one) => name.endsWith(one));
}

/** Lets resolvers remember that there is nothing (RFC 2308). */
const authority: Answer = {
  type: 'SOA',
  name: clusterDomain,
  ttl,
  data: {
    mname: `ns.dns.${clusterDomain}`,
    rname: `hostmaster.${clusterDomain}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: ttl,
  },
};

function respond(query: DecodedPacket, answers: Answer[], rcode: number): Buffer {
  const recursion = (query.flags ?? 0) & (1 << 8);
  const flags = authoritative | recursionAvailable | recursion | rcode;
  const nothing = answers.length === 0 && rcode !== serverFailure;
  return encode({
    type: 'response',
    id: query.id ?? 0,
    flags,
    questions: query.questions ?? [],
    answers,
    authorities: nothing ? [authority] : [],
  });
}

/** Turns one query (wire form) into its answer. */
export async function resolve(objects: Objects, upstream: Upstream, wire: Buffer, aliases = 0): Promise<Buffer> {
  const query = decode(wire);
  const question = query.questions?.[0];
  if (!question) return respond(query, [], serverFailure);
  if (!isOurs(question.name.toLowerCase())) {
    return upstream(wire).catch(() => respond(query, [], serverFailure));
  }
  const found = answer(objects, question);
  if (!found) return respond(query, [], nameError);
  const rest = aliases < longestChain ? await follow(objects, upstream, question, found, aliases) : [];
  return respond(query, [...found, ...rest], 0);
}

/** What an alias leads to: the stub resolvers of pods do not ask on themselves. */
async function follow(
  objects: Objects,
  upstream: Upstream,
  question: Question,
  found: Answer[],
  aliases: number,
): Promise<Answer[]> {
  const alias = found[0];
  if (alias?.type !== 'CNAME' || question.type === 'CNAME') return [];
  const next = encode({ type: 'query', id: 0, flags: 1 << 8, questions: [{ ...question, name: alias.data }] });
  const reply = await resolve(objects, upstream, next, aliases + 1).catch(() => undefined);
  return reply ? (decode(reply).answers ?? []) : [];
}

/** Serves DNS over UDP and TCP on port 53 of an address of this network namespace. */
export async function serveDns(
  objects: Objects,
  upstream: Upstream,
  address: string,
  log: (message: string) => void,
): Promise<() => void> {
  const udp: DatagramSocket = createSocket({ type: 'udp4', reuseAddr: true });
  udp.on('message', (wire, from) => {
    resolve(objects, upstream, wire).then(
      (reply) => udp.send(truncated(reply, sizeFor(wire)), from.port, from.address),
      (error: Error) => log(`dns: query from ${from.address} not understood: ${error.message}`),
    );
  });
  const tcp: Server = createServer((socket) => {
    let held: Buffer = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const size = held.readUInt16BE(0);
        const wire = held.subarray(2, 2 + size);
        held = held.subarray(2 + size);
        resolve(objects, upstream, wire).then(
          (reply) => socket.write(Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply])),
          () => socket.destroy(),
        );
      }
    });
  });
  await new Promise<void>((done, fail) => {
    udp.once('error', fail);
    udp.bind(53, address, done);
  });
  udp.on('error', (error) => log(`dns: ${error.message}`));
  await new Promise<void>((done, fail) => tcp.once('error', fail).listen(53, address, done));
  return () => {
    udp.close();
    tcp.close();
  };
}

/** How much the sender of a query takes in one datagram. */
function sizeFor(wire: Buffer): number {
  const extended = decode(wire).additionals?.find((one) => one.type === 'OPT');
  return extended && 'udpPayloadSize' in extended
    ? Math.min(packetSize, Math.max(plainSize, extended.udpPayloadSize))
    : plainSize;
}

/** What does not fit is cut to the header with TC set; the client comes again over TCP. */
function truncated(reply: Buffer, size: number): Buffer {
  if (reply.length <= size) return reply;
  const query = decode(reply);
  const flags = (query.flags ?? 0) | (1 << 9);
  return encode({ type: 'response', id: query.id ?? 0, flags, questions: query.questions ?? [] });
}
