/** The Kubernetes-compatible API server of the local mesh. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { resources } from '../../kube/resources.ts';
import type { Json, ResourceType } from '../../kube/types.ts';
import { makeCertificate } from '../../protocol/x509.ts';
import { kubernetesVersion } from '../node.ts';
import { Conflict, type Objects, type PodRuntime } from '../objects.ts';
import { Store } from '../store/store.ts';
import { Access, type TokenRequest, type User } from './access.ts';
import { listFor, pageOf } from './list.ts';
import { openApi } from './openapi.ts';
import { Registry } from './registry.ts';
import { type ApiRequest, nameOf, parseBody, parsePath, readBody, verbOf } from './request.ts';
import { Rest } from './rest.ts';
import { defaultRoles } from './roles.ts';
import { StatusError } from './status-error.ts';
import { serveLogs, serveUpgrade } from './streams.ts';
import { tableOf } from './table.ts';
import { discovery, findType, servedTypes } from './types.ts';
import { serveWatch } from './watch.ts';

export interface ApiOptions {
  /** SQLite file; made where it is not there. @throws StateError */
  stateFile: string;
  /** First two numbers of service addresses, `10.96`. */
  servicePrefix: string;
  /** `namespace/name` → address, for services whose address is agreed: kubernetes, DNS. */
  fixedServices: Record<string, string>;
  /** Names and addresses the serving certificate is for. */
  names: { dns: string[]; ips: string[] };
  log: (message: string) => void;
}

/** Where to listen: a socket handed down, or an address. */
export type Listen = { fd: number } | { host: string; port: number };

export class ApiServer {
  readonly objects: Objects;
  /** Root that clients verify the server by, PEM. */
  readonly root: string;
  readonly adminToken: string;
  readonly #options: ApiOptions;
  readonly #store: Store;
  readonly #registry: Registry;
  readonly #access: Access;
  readonly #rest: Rest;
  readonly #servers: https.Server[] = [];
  readonly #tls: { key: string; cert: string };
  #runtime: PodRuntime | undefined;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#store = Store.open(options.stateFile);
    this.#registry = new Registry({
      store: this.#store,
      log: options.log,
      servicePrefix: options.servicePrefix,
      fixedServices: options.fixedServices,
    });
    this.objects = this.#registry;
    this.#access = new Access(this.objects, this.#store, () => randomBytes(32).toString('base64url'));
    this.adminToken = this.#access.adminToken;
    this.#rest = new Rest(this.#registry, this.#access);
    const made = this.#certificates();
    this.root = made.root;
    this.#tls = made.serving;
  }

  /** Logs, exec and port-forward answer 503 until the runtime is there. */
  setRuntime(runtime: PodRuntime): void {
    this.#runtime = runtime;
  }

  issueToken(request: TokenRequest): Promise<{ token: string; expires: Date }> {
    return this.#access.issue(request);
  }

  namespacedTypes(): ResourceType[] {
    return servedTypes(this.objects).filter((type) => type.namespaced && !type.plural.endsWith('reviews'));
  }

  /** The namespaces, roles and services every cluster has. */
  async bootstrap(): Promise<void> {
    for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease']) {
      if (!this.objects.get(resources.namespaces, name))
        await this.objects.create(resources.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    }
    for (const role of defaultRoles)
      if (!this.objects.get(resources.clusterRoles, role.metadata.name!))
        await this.objects.create(resources.clusterRoles, role);
    if (!this.objects.get(resources.services, 'kubernetes', 'default')) {
      await this.objects.create(resources.services, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: {
          name: 'kubernetes',
          namespace: 'default',
          labels: { component: 'apiserver', provider: 'kubernetes' },
        },
        spec: { ports: [{ name: 'https', port: 443, targetPort: 6443 }] },
      });
    }
  }

  async listen(where: Listen): Promise<{ port: number }> {
    const server = https.createServer(
      { ...this.#tls, minVersion: 'TLSv1.2' },
      (request, response) => void this.#serve(request, response),
    );
    server.on('upgrade', (request, socket, head) => void this.#upgrade(request, socket, head));
    server.keepAliveTimeout = 120_000;
    server.requestTimeout = 0;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where, resolve);
    });
    this.#servers.push(server);
    const address = server.address();
    return { port: typeof address === 'object' && address ? address.port : 0 };
  }

  close(): void {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
    this.#store.close();
  }

  #certificates(): { root: string; serving: { key: string; cert: string } } {
    const year = 365 * 86_400_000;
    const pem = (name: string) =>
      this.#store.secret(name, () =>
        generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
          .privateKey.export({ type: 'pkcs8', format: 'pem' })
          .toString(),
      );
    const key = createPrivateKey(pem('api-root-key'));
    const issuer = { subject: 'mesh-local-api', publicKey: createPublicKey(key), privateKey: key };
    const since = new Date(Date.now() - 3_600_000);
    const root = this.#store.secret('api-root', () =>
      makeCertificate({
        subject: issuer.subject,
        publicKey: issuer.publicKey,
        issuer,
        notBefore: since,
        notAfter: new Date(Date.now() + 10 * year),
        authority: { pathLength: 0 },
      }),
    );
    const serving = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const cert = makeCertificate({
      subject: 'kube-apiserver',
      publicKey: serving.publicKey,
      issuer,
      notBefore: since,
      notAfter: new Date(Date.now() + year),
      names: this.#options.names,
    });
    return { root, serving: { key: serving.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert } };
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(message, response);
    } catch (error) {
      const refusal = this.#refusal(error);
      if (!response.headersSent) send(response, refusal.status.code, refusal.body);
      else response.destroy();
    }
  }

  #refusal(error: unknown): StatusError {
    if (error instanceof StatusError) return error;
    const carried = (error as { status?: unknown }).status;
    if (carried instanceof StatusError) return carried;
    if (error instanceof Conflict) return new StatusError(409, 'Conflict', error.message);
    this.#options.log(`internal error: ${(error as Error).stack}`);
    return new StatusError(500, 'InternalError', (error as Error).message);
  }

  async #answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(message.url ?? '/', 'https://api');
    if (['/healthz', '/livez', '/readyz'].includes(url.pathname)) {
      response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
      return;
    }
    const user = await this.#user(message);
    const parsed = parsePath(url.pathname);
    if (!parsed) return this.#general(url.pathname, user, message, response);
    const request = this.#request(message, url, parsed, user, response);
    const accept = message.headers.accept ?? '';
    const asTable = accept.includes('as=Table');
    const verb = verbOf(request.method, request.name, request.query);
    if (verb === 'watch') return serveWatch(this.#store, this.#registry, request, response, asTable);
    if (verb === 'list') return this.#list(request, response, asTable);
    if (verb === 'get') {
      if (request.type.plural === 'pods' && request.subresource === 'log')
        return serveLogs(this.#needRuntime(), request, this.#container(request), response);
      if (request.type.plural === 'nodes' && request.subresource === 'proxy/stats/summary')
        return send(response, 200, this.#needRuntime().stats());
      if (request.query.get('watch') === 'true')
        return serveWatch(this.#store, this.#registry, request, response, asTable);
      const object = this.#rest.get(request);
      return send(
        response,
        200,
        asTable && !request.subresource
          ? tableOf(
              request.type,
              [object],
              { resourceVersion: object.metadata.resourceVersion ?? '' },
              request.query.get('includeObject') === 'Object',
            )
          : object,
      );
    }
    const body = (await parseBody(await readBody(message), message.headers['content-type'] ?? '')) as Json;
    const action = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }[request.method] as
      | 'create'
      | 'update'
      | 'patch'
      | 'delete'
      | undefined;
    if (!action) throw new StatusError(405, 'MethodNotAllowed', `${request.method} is not served`);
    const answer = await this.#rest[action](request, body);
    for (const text of answer.warnings ?? []) response.appendHeader('warning', `299 - ${JSON.stringify(text)}`);
    send(response, answer.status, answer.body);
  }

  #list(request: ApiRequest, response: ServerResponse, asTable: boolean): void {
    const { type, query } = request;
    const { items, metadata } = pageOf(listFor(this.#registry, request), query, String(this.#store.version));
    if (asTable) return send(response, 200, tableOf(type, items, metadata, query.get('includeObject') === 'Object'));
    send(response, 200, {
      kind: `${type.kind}List`,
      apiVersion: type.group ? `${type.group}/${type.version}` : type.version,
      metadata,
      items,
    });
  }

  #general(path: string, user: User, message: IncomingMessage, response: ServerResponse): void {
    this.#check(user, { verb: 'get', group: '', resource: '', subresource: '', namespace: '', name: '', path });
    if (path === '/version') {
      return send(response, 200, {
        major: '1',
        minor: '34',
        gitVersion: kubernetesVersion,
        gitCommit: '',
        gitTreeState: 'clean',
        buildDate: '1970-01-01T00:00:00Z',
        goVersion: '',
        compiler: 'node',
        platform: `linux/${process.arch}`,
      });
    }
    const found = path.startsWith('/openapi/v3')
      ? openApi(this.objects, path)
      : discovery(this.objects, path.replace(/\/$/, ''));
    if (!found || message.method !== 'GET') throw new StatusError(404, 'NotFound', `the server has no ${path}`);
    send(response, 200, found);
  }

  #request(
    message: IncomingMessage,
    url: URL,
    parsed: NonNullable<ReturnType<typeof parsePath>>,
    user: User,
    response: ServerResponse | undefined,
  ): ApiRequest {
    const general = discovery(this.objects, url.pathname.replace(/\/$/, ''));
    const type = findType(this.objects, parsed.group, parsed.version, parsed.plural);
    if (!type)
      throw new StatusError(
        404,
        'NotFound',
        general ? 'not a resource' : 'the server could not find the requested resource',
      );
    const verb = message.headers.upgrade ? 'create' : verbOf(message.method ?? 'GET', parsed.name, url.searchParams);
    this.#check(user, {
      verb,
      group: type.group,
      resource: type.plural,
      // What follows `proxy` is the path on the other side.
      subresource: parsed.subresource.split('/', 1)[0]!,
      namespace: parsed.namespace,
      name: nameOf(parsed.name, url.searchParams),
    });
    const gone = new AbortController();
    response?.on('close', () => gone.abort());
    return {
      method: message.method ?? 'GET',
      type,
      namespace: parsed.namespace,
      name: parsed.name,
      subresource: parsed.subresource,
      query: url.searchParams,
      headers: message.headers,
      user,
      signal: gone.signal,
    };
  }

  async #user(message: IncomingMessage): Promise<User> {
    const user = await this.#access.authenticate(message.headers.authorization);
    if (!user) throw new StatusError(401, 'Unauthorized', 'Unauthorized');
    const as = message.headers['impersonate-user'];
    if (typeof as !== 'string') return user;
    if (
      !this.#access.allowed(user, {
        verb: 'impersonate',
        group: '',
        resource: 'users',
        subresource: '',
        namespace: '',
        name: as,
      })
    ) {
      throw new StatusError(403, 'Forbidden', `users "${as}" is forbidden: User "${user.name}" cannot impersonate`);
    }
    const groups = message.headers['impersonate-group'];
    const account = /^system:serviceaccount:([^:]+):[^:]+$/.exec(as);
    const implied = account ? ['system:serviceaccounts', `system:serviceaccounts:${account[1]}`] : [];
    return {
      name: as,
      groups: [
        ...implied,
        ...(typeof groups === 'string' ? groups.split(', ') : (groups ?? [])),
        'system:authenticated',
      ],
    };
  }

  #check(user: User, attributes: Parameters<Access['allowed']>[1]): void {
    if (this.#access.allowed(user, attributes)) return;
    const { verb, group, resource, subresource, namespace, name, path } = attributes;
    const what = path ?? `${resource}${subresource ? `/${subresource}` : ''}${group ? `.${group}` : ''}`;
    throw new StatusError(
      403,
      'Forbidden',
      `${what}${name ? ` "${name}"` : ''} is forbidden: User "${user.name}" cannot ${verb} ${path === undefined ? `resource "${resource}" in API group "${group}"` : `path "${path}"`}${namespace ? ` in the namespace "${namespace}"` : path === undefined ? ' at the cluster scope' : ''}`,
    );
  }

  #needRuntime(): PodRuntime {
    if (!this.#runtime) throw new StatusError(503, 'ServiceUnavailable', 'the pod runtime is starting');
    return this.#runtime;
  }

  #container(request: ApiRequest): string {
    const pod = this.#rest.get({ ...request, subresource: '' });
    const names: string[] = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map((one: Json) => one.name);
    const asked = request.query.get('container') ?? names[0]!;
    if (!names.includes(asked))
      throw new StatusError(
        400,
        'BadRequest',
        `container ${asked} is not valid for pod ${request.name}; it has ${names.join(', ')}`,
      );
    return asked;
  }

  async #upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy());
    try {
      const url = new URL(message.url ?? '/', 'https://api');
      const parsed = parsePath(url.pathname);
      if (parsed?.plural !== 'pods') throw new StatusError(404, 'NotFound', 'nothing to upgrade here');
      const request = this.#request(message, url, parsed, await this.#user(message), undefined);
      serveUpgrade(this.#needRuntime(), request, this.#container(request), message, socket, head);
    } catch (error) {
      const refusal = this.#refusal(error);
      const body = JSON.stringify(refusal.body);
      socket.end(
        `HTTP/1.1 ${refusal.status.code} ${refusal.status.reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      );
    }
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
