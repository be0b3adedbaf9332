/** Who calls (administrator's token, service account tokens) and what they may do (RBAC). */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import { resources } from '../../kube/resources.ts';
import type { Json } from '../../kube/types.ts';
import type { Objects } from '../objects.ts';
import type { Store } from '../store/store.ts';

const issuer = 'https://kubernetes.default.svc.cluster.local';
const apiAudience = issuer;

export interface User {
  name: string;
  uid?: string;
  groups: string[];
  extra?: Record<string, string[]>;
}

export interface TokenRequest {
  namespace: string;
  serviceAccount: string;
  audiences: string[];
  seconds: number;
  pod?: { name: string; uid: string };
}

export interface Attributes {
  verb: string;
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  /** Set for paths that are no resources. */
  path?: string;
}

/** Paths, not resources, that everyone known may read. */
const openPaths = ['/version', '/healthz', '/livez', '/readyz', '/api', '/apis', '/openapi'];

const isAdmin = (user: User): boolean => user.groups.includes('system:masters');

export class Access {
  readonly #objects: Objects;
  readonly adminToken: string;
  readonly #key: KeyObject;
  readonly #public: KeyObject;

  constructor(objects: Objects, store: Store, makeToken: () => string) {
    this.#objects = objects;
    this.adminToken = store.secret('admin-token', makeToken);
    this.#key = createPrivateKey(
      store.secret('service-account-key', () =>
        generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
          .privateKey.export({ type: 'pkcs8', format: 'pem' })
          .toString(),
      ),
    );
    this.#public = createPublicKey(this.#key);
  }

  async issue(request: TokenRequest): Promise<{ token: string; expires: Date }> {
    const account = this.#objects.get(resources.serviceAccounts, request.serviceAccount, request.namespace);
    if (!account) throw new Error(`serviceaccount "${request.serviceAccount}" not found in ${request.namespace}`);
    const expires = new Date(Date.now() + request.seconds * 1000);
    const token = await new SignJWT({
      'kubernetes.io': {
        namespace: request.namespace,
        serviceaccount: { name: request.serviceAccount, uid: account.metadata.uid },
        ...(request.pod ? { pod: request.pod } : {}),
      },
    })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(issuer)
      .setSubject(`system:serviceaccount:${request.namespace}:${request.serviceAccount}`)
      .setAudience(request.audiences.length > 0 ? request.audiences : [apiAudience])
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime(expires)
      .sign(this.#key);
    return { token, expires };
  }

  /** The user of a service account token for one of the audiences. @throws Error saying why not */
  async review(token: string, audiences: string[]): Promise<{ user: User; audiences: string[] }> {
    const wanted = audiences.length > 0 ? audiences : [apiAudience];
    const { payload } = await jwtVerify(token, this.#public, { issuer, audience: wanted });
    const claims = payload['kubernetes.io'] as Json;
    const account = this.#objects.get(resources.serviceAccounts, claims.serviceaccount.name, claims.namespace);
    if (account?.metadata.uid !== claims.serviceaccount.uid) throw new Error('the service account is gone');
    if (claims.pod) {
      const pod = this.#objects.get(resources.pods, claims.pod.name, claims.namespace);
      if (pod?.metadata.uid !== claims.pod.uid) throw new Error('the pod of the token is gone');
    }
    const given = typeof payload.aud === 'string' ? [payload.aud] : (payload.aud ?? []);
    return {
      audiences: wanted.filter((one) => given.includes(one)),
      user: {
        name: payload.sub!,
        uid: claims.serviceaccount.uid,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${claims.namespace}`, 'system:authenticated'],
        ...(claims.pod
          ? {
              extra: {
                'authentication.kubernetes.io/pod-name': [claims.pod.name],
                'authentication.kubernetes.io/pod-uid': [claims.pod.uid],
              },
            }
          : {}),
      },
    };
  }

  /** The user behind an Authorization header; undefined where it proves nothing. */
  async authenticate(header: string | undefined): Promise<User | undefined> {
    const token = /^Bearer (.+)$/.exec(header ?? '')?.[1];
    if (!token) return undefined;
    const digest = (text: string) => createHash('sha256').update(text).digest();
    if (timingSafeEqual(digest(token), digest(this.adminToken)))
      return { name: 'admin', groups: ['system:masters', 'system:authenticated'] };
    try {
      return (await this.review(token, [])).user;
    } catch {
      return undefined; // any flaw of a token means the same: not authenticated
    }
  }

  allowed(user: User, request: Attributes): boolean {
    if (isAdmin(user)) return true;
    if (openPaths.some((path) => request.path === path || request.path?.startsWith(`${path}/`))) return true;
    const reviews = ['authorization.k8s.io', 'authentication.k8s.io'];
    if (reviews.includes(request.group) && request.resource.startsWith('selfsubject')) return true;
    const bound = (binding: Json) =>
      binding.subjects?.some((subject: Json) => isSubject(user, subject, binding.metadata.namespace));
    for (const binding of this.#objects.list(resources.clusterRoleBindings)) {
      if (bound(binding) && this.#role(binding.roleRef, undefined).some((rule) => ruleAllows(rule, request)))
        return true;
    }
    if (!request.namespace) return false;
    return this.#objects
      .list(resources.roleBindings, { namespace: request.namespace })
      .some(
        (binding) =>
          bound(binding) && this.#role(binding.roleRef, request.namespace).some((rule) => ruleAllows(rule, request)),
      );
  }

  /** What a user may do in a namespace, as SelfSubjectRulesReview lists it. */
  rulesOf(user: User, namespace: string): { resourceRules: Json[]; nonResourceRules: Json[] } {
    const open = { verbs: ['get'], nonResourceURLs: openPaths.flatMap((path) => [path, `${path}/*`]) };
    if (isAdmin(user)) {
      const all = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] };
      return { resourceRules: [all], nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }] };
    }
    const bindings = [
      ...this.#objects.list(resources.clusterRoleBindings),
      ...this.#objects.list(resources.roleBindings, { namespace }),
    ];
    const rules = bindings
      .filter((binding: Json) =>
        binding.subjects?.some((subject: Json) => isSubject(user, subject, binding.metadata.namespace)),
      )
      .flatMap((binding) => this.#role(binding.roleRef, binding.metadata.namespace));
    const paths = rules.filter((rule) => rule.nonResourceURLs);
    return { resourceRules: rules.filter((rule) => rule.resources), nonResourceRules: [open, ...paths] };
  }

  #role(reference: Json, namespace: string | undefined): Json[] {
    const role =
      reference.kind === 'ClusterRole'
        ? this.#objects.get(resources.clusterRoles, reference.name)
        : this.#objects.get(resources.roles, reference.name, namespace);
    return role?.rules ?? [];
  }
}

function isSubject(user: User, subject: Json, bindingNamespace: string | undefined): boolean {
  if (subject.kind === 'User') return subject.name === user.name;
  if (subject.kind === 'Group') return user.groups.includes(subject.name);
  return user.name === `system:serviceaccount:${subject.namespace ?? bindingNamespace}:${subject.name}`;
}

function ruleAllows(rule: Json, request: Attributes): boolean {
  const has = (list: string[] | undefined, value: string) => list?.includes('*') || list?.includes(value);
  const { path } = request;
  if (path !== undefined) {
    const covers = (url: string) => url === path || (url.endsWith('*') && path.startsWith(url.slice(0, -1)));
    return Boolean(has(rule.verbs, request.verb) && rule.nonResourceURLs?.some(covers));
  }
  const resource = request.subresource ? `${request.resource}/${request.subresource}` : request.resource;
  return Boolean(
    has(rule.verbs, request.verb) &&
      has(rule.apiGroups, request.group) &&
      (has(rule.resources, resource) ||
        (request.subresource && rule.resources?.includes(`*/${request.subresource}`))) &&
      (!rule.resourceNames?.length || rule.resourceNames.includes(request.name)),
  );
}
