/** The verbs on resources: get, list, create, update, patch, delete and the plain subresources. */
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { Conflict, NotFound } from '../objects.ts';
import type { Access } from './access.ts';
import { applyConfiguration, recordUpdate } from './apply.ts';
import { scalePaths, unknownFields } from './custom.ts';
import { evict } from './evict.ts';
import { listFor } from './list.ts';
import { jsonPatch, mergePatch, strategicPatch } from './patch.ts';
import type { Registry } from './registry.ts';
import type { ApiRequest } from './request.ts';
import { badRequest, notFound, StatusError } from './status-error.ts';

export interface Answer {
  status: number;
  body: object;
  /** Said to the client beside the answer. */
  warnings?: string[];
}

export class Rest {
  readonly #registry: Registry;
  readonly #access: Access;

  constructor(registry: Registry, access: Access) {
    this.#registry = registry;
    this.#access = access;
  }

  get(request: ApiRequest): KubeObject {
    const object = this.#registry.get(request.type, request.name, request.namespace);
    if (!object) throw notFound(request.type.plural, request.name);
    return request.subresource === 'scale' ? scaleOf(object, request) : object;
  }

  async create(request: ApiRequest, body: Json): Promise<Answer> {
    const { type, subresource } = request;
    if (type.plural.endsWith('reviews')) return { status: 201, body: await this.#review(request, body) };
    if (type.plural === 'serviceaccounts' && subresource === 'token')
      return { status: 201, body: await this.#token(request, body) };
    if (type.plural === 'pods' && subresource === 'eviction') {
      const pod = this.get({ ...request, subresource: '' });
      await evict(this.#registry, pod, body?.deleteOptions, isDry(request));
      return { status: 201, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' } };
    }
    if (request.name) throw new StatusError(405, 'MethodNotAllowed', 'POST goes to a collection');
    if (!body?.kind && type.custom) throw badRequest('the body has no kind');
    if (body?.kind && body.kind !== type.kind)
      throw badRequest(`the body is a ${body.kind}, the path is of ${type.kind}`);
    const warnings = checkFields(request, body);
    const given = inNamespace(request, body);
    recordUpdate(undefined, given, managerOf(request));
    return { status: 201, body: await this.#registry.create(type, given, request.user.name, isDry(request)), warnings };
  }

  async update(request: ApiRequest, body: Json): Promise<Answer> {
    if (!body?.metadata) throw badRequest('the body is no object');
    if (request.subresource === 'scale') return this.#scale(request, body.spec?.replicas);
    const given = inNamespace(request, body);
    if (given.metadata.name !== request.name)
      throw badRequest(`the name of the object (${given.metadata.name}) is not the one of the path (${request.name})`);
    const stored = this.#registry.get(request.type, request.name, request.namespace);
    const warnings = checkFields(request, body);
    if (stored && request.subresource !== 'status') recordUpdate(stored, given, managerOf(request));
    return { status: 200, body: await this.#write(request, given), warnings };
  }

  async patch(request: ApiRequest, body: Json): Promise<Answer> {
    const kind = (request.headers['content-type'] ?? '').split(';', 1)[0]!;
    if (kind === 'application/apply-patch+yaml') return this.#apply(request, body);
    for (let tries = 0; ; tries++) {
      const stored = this.get({ ...request, subresource: '' });
      const from = request.subresource === 'scale' ? scaleOf(stored, request) : stored;
      const patch = {
        'application/json-patch+json': jsonPatch,
        'application/merge-patch+json': mergePatch,
        'application/strategic-merge-patch+json': strategicPatch,
      }[kind];
      if (!patch) throw new StatusError(415, 'UnsupportedMediaType', `patches of type ${kind} are not understood`);
      // The patched object shares what the patch left alone with the stored one, which is frozen.
      const next = structuredClone(patch(from, body)) as KubeObject;
      if (request.subresource === 'scale') return this.#scale(request, next.spec?.replicas);
      if (next.metadata.name !== stored.metadata.name || next.kind !== stored.kind)
        throw badRequest('a patch may not change name or kind');
      const warnings = checkFields(request, next, stored);
      if (request.subresource !== 'status') recordUpdate(stored, next, managerOf(request));
      // Where the patch itself names no version, another writer between read and write is no conflict.
      const versioned = body?.metadata?.resourceVersion !== undefined;
      try {
        return { status: 200, body: await this.#write(request, next), warnings };
      } catch (error) {
        if (!(error instanceof Conflict) || versioned || tries >= 5) throw error;
      }
    }
  }

  async delete(request: ApiRequest, body: Json): Promise<Answer> {
    const { type, query } = request;
    const grace =
      body?.gracePeriodSeconds ??
      (query.has('gracePeriodSeconds') ? Number(query.get('gracePeriodSeconds')) : undefined);
    const options = {
      ...(grace === undefined ? {} : { gracePeriodSeconds: grace as number }),
      propagation: body?.propagationPolicy ?? query.get('propagationPolicy') ?? 'Background',
    };
    if (!request.name) {
      const items = listFor(this.#registry, request);
      if (!isDry(request))
        for (const item of items)
          await this.#registry.delete(type, item.metadata.name!, item.metadata.namespace, options, request.user.name);
      return { status: 200, body: { kind: `${type.kind}List`, apiVersion: 'v1', metadata: {}, items } };
    }
    const stored = this.get({ ...request, subresource: '' });
    const expected = body?.preconditions?.uid;
    if (expected && expected !== stored.metadata.uid)
      throw new StatusError(
        409,
        'Conflict',
        `the uid of ${type.plural} "${request.name}" is ${stored.metadata.uid}, not ${expected}`,
      );
    if (!isDry(request))
      await this.#registry.delete(type, request.name, stored.metadata.namespace, options, request.user.name);
    const left = this.#registry.get(type, request.name, request.namespace);
    if (left && !isDry(request)) return { status: 200, body: left };
    return {
      status: 200,
      body: {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Success',
        details: { name: request.name, kind: type.plural, uid: stored.metadata.uid },
      },
    };
  }

  async #apply(request: ApiRequest, body: Json): Promise<Answer> {
    const manager = request.query.get('fieldManager');
    if (!manager) throw badRequest('an apply needs the query parameter fieldManager');
    if (!body?.kind || !body.metadata) throw badRequest('the body is no object');
    const applied = inNamespace(request, body);
    if (applied.metadata.name !== request.name) throw badRequest('the name of the object is not the one of the path');
    const warnings = checkFields(request, body);
    const force = request.query.get('force') === 'true';
    for (let tries = 0; ; tries++) {
      const live = this.#registry.get(request.type, request.name, request.namespace);
      const next = applyConfiguration(live, applied, manager, force);
      try {
        if (!live)
          return {
            status: 201,
            body: await this.#registry.create(request.type, next, request.user.name, isDry(request)),
            warnings,
          };
        return { status: 200, body: await this.#write(request, next), warnings };
      } catch (error) {
        const lost =
          error instanceof Conflict || (error instanceof StatusError && error.status.reason === 'AlreadyExists');
        if (!lost || tries >= 5) throw error;
      }
    }
  }

  async #write(request: ApiRequest, object: KubeObject): Promise<KubeObject> {
    const part = request.subresource === 'status' ? 'status' : undefined;
    try {
      return await this.#registry.replace(request.type, object, part, {
        user: request.user.name,
        dryRun: isDry(request),
      });
    } catch (error) {
      if (error instanceof NotFound) throw notFound(request.type.plural, request.name);
      throw error;
    }
  }

  async #scale(request: ApiRequest, replicas: unknown): Promise<Answer> {
    if (typeof replicas !== 'number' || replicas < 0) throw badRequest('spec.replicas must be a number of at least 0');
    const stored = this.get({ ...request, subresource: '' });
    const next = structuredClone(stored) as KubeObject;
    const steps = pathsOf(request).replicas;
    const last = steps.at(-1)!;
    steps.slice(0, -1).reduce((value: Json, step) => (value[step] ??= {}), next)[last] = replicas;
    recordUpdate(stored, next, managerOf(request));
    return { status: 200, body: scaleOf(await this.#write({ ...request, subresource: '' }, next), request) };
  }

  async #token(request: ApiRequest, body: Json): Promise<object> {
    this.#registry.get(resources.serviceAccounts, request.name, request.namespace) ??
      fail(notFound('serviceaccounts', request.name));
    const seconds: number = body?.spec?.expirationSeconds ?? 3600;
    const reference = body?.spec?.boundObjectRef;
    const { token, expires } = await this.#access.issue({
      namespace: request.namespace,
      serviceAccount: request.name,
      audiences: body?.spec?.audiences ?? [],
      seconds: Math.max(60, seconds),
      ...(reference?.kind === 'Pod' ? { pod: { name: reference.name, uid: reference.uid } } : {}),
    });
    return {
      ...body,
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      status: { token, expirationTimestamp: `${expires.toISOString().slice(0, 19)}Z` },
    };
  }

  async #review(request: ApiRequest, body: Json): Promise<object> {
    const spec = body?.spec ?? {};
    if (request.type.kind === 'TokenReview') {
      try {
        const { user, audiences } = await this.#access.review(spec.token ?? '', spec.audiences ?? []);
        return {
          ...body,
          status: {
            authenticated: true,
            audiences,
            user: { username: user.name, uid: user.uid, groups: user.groups, extra: user.extra },
          },
        };
      } catch (error) {
        return { ...body, status: { authenticated: false, error: (error as Error).message } };
      }
    }
    if (request.type.kind === 'SelfSubjectReview') {
      const { name, uid, groups, extra } = request.user;
      return { ...body, status: { userInfo: { username: name, uid, groups, extra } } };
    }
    if (request.type.kind === 'SelfSubjectRulesReview') {
      const rules = this.#access.rulesOf(request.user, spec.namespace ?? 'default');
      return { ...body, status: { ...rules, incomplete: false } };
    }
    const self = request.type.kind === 'SelfSubjectAccessReview';
    const user = self ? request.user : { name: spec.user ?? '', groups: spec.groups ?? [] };
    const asked = spec.resourceAttributes ?? {};
    const allowed = this.#access.allowed(user, {
      verb: asked.verb ?? spec.nonResourceAttributes?.verb ?? '',
      group: asked.group ?? '',
      resource: asked.resource ?? '',
      subresource: asked.subresource ?? '',
      namespace: asked.namespace ?? '',
      name: asked.name ?? '',
      ...(spec.nonResourceAttributes ? { path: spec.nonResourceAttributes.path } : {}),
    });
    return { ...body, status: { allowed, ...(allowed ? {} : { reason: 'no role allows it' }) } };
  }
}

function fail(error: Error): never {
  throw error;
}

/** Fields that no schema knows, as `fieldValidation` says: refused, told about, or let pass. */
function checkFields({ type, query }: ApiRequest, object: KubeObject, before?: KubeObject): string[] {
  const mode = query.get('fieldValidation') ?? 'Warn';
  if (!type.custom || mode === 'Ignore') return [];
  const known = new Set(before ? unknownFields(type.custom, before) : []);
  const texts = unknownFields(type.custom, object)
    .filter((field) => !known.has(field))
    .map((field) => `unknown field "${field}"`);
  if (texts.length > 0 && mode === 'Strict') throw badRequest(`strict decoding error: ${texts.join(', ')}`);
  return texts;
}

const isDry = (request: ApiRequest): boolean => request.query.get('dryRun') === 'All';

function managerOf(request: ApiRequest): string {
  return request.query.get('fieldManager') ?? (request.headers['user-agent'] ?? 'unknown').split('/', 1)[0]!;
}

/** The object with the kind and the namespace of its path. */
function inNamespace(request: ApiRequest, body: Json): KubeObject {
  const { group, version, kind } = request.type;
  const apiVersion = group ? `${group}/${version}` : version;
  // Clients with types of their own leave out what the path says.
  const object = { apiVersion, kind, ...body, metadata: { ...body?.metadata } } as KubeObject;
  if (!request.type.namespaced) delete object.metadata.namespace;
  else {
    object.metadata.namespace ??= request.namespace;
    if (object.metadata.namespace !== request.namespace)
      throw badRequest(
        `the namespace of the object (${object.metadata.namespace}) is not the one of the path (${request.namespace})`,
      );
  }
  return object;
}

const builtIn = { replicas: ['spec', 'replicas'], status: ['status', 'replicas'], selector: [] };

function pathsOf({ type }: ApiRequest): { replicas: string[]; status: string[]; selector: string[] } {
  const paths = type.custom ? scalePaths(type.custom) : builtIn;
  if (!paths) throw notFound(`${type.plural}/scale`, type.plural);
  return paths;
}

function scaleOf(object: KubeObject, request: ApiRequest): KubeObject {
  const paths = pathsOf(request);
  const at = (steps: string[]): Json => steps.reduce((value: Json, step) => value?.[step], object);
  const labels = Object.entries<string>(object.spec?.selector?.matchLabels ?? {}).map(
    ([key, value]) => `${key}=${value}`,
  );
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  return {
    apiVersion: 'autoscaling/v1',
    kind: 'Scale',
    metadata: {
      name: name!,
      ...(namespace === undefined ? {} : { namespace }),
      uid: uid!,
      resourceVersion: resourceVersion!,
      creationTimestamp: creationTimestamp!,
    },
    spec: { replicas: at(paths.replicas) ?? (request.type.custom ? 0 : 1) },
    status: {
      replicas: at(paths.status) ?? 0,
      selector: paths.selector.length > 0 ? (at(paths.selector) ?? '') : labels.join(','),
    },
  };
}
