/** Calls the webhooks that a write falls under: mutating ones in the order of their names, then all validating ones. */

import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { applyPatch, type Operation } from 'rfc6902';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../../kube/types.ts';
import type { LabelSelector } from '../controllers/workload.ts';
import { matches } from '../controllers/workload.ts';
import type { Objects } from '../objects.ts';
import { StatusError } from './status-error.ts';

export const validatingWebhooks: ResourceType = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  kind: 'ValidatingWebhookConfiguration',
  plural: 'validatingwebhookconfigurations',
  namespaced: false,
};

const maxResponseBytes = 4 << 20;
/** What writes to these do is never asked about: a webhook must not keep itself from being taken away. */
const exempt = new Set(['mutatingwebhookconfigurations', 'validatingwebhookconfigurations']);

export interface Write {
  operation: 'CREATE' | 'UPDATE' | 'DELETE';
  type: ResourceType;
  subresource?: string;
  /** As it is to be stored; for DELETE as it is. */
  object: KubeObject;
  before?: KubeObject;
  user: string;
  dryRun: boolean;
}

function ruleFits(rule: Json, { type, operation, subresource }: Write): boolean {
  const fits = (list: string[], value: string) => list.includes('*') || list.includes(value);
  const resource = subresource ? `${type.plural}/${subresource}` : type.plural;
  const named = rule.resources.includes(resource) || rule.resources.includes(subresource ? '*/*' : '*');
  return (
    fits(rule.operations, operation) &&
    fits(rule.apiGroups, type.group) &&
    fits(rule.apiVersions, type.version) &&
    (named || (subresource !== undefined && rule.resources.includes(`${type.plural}/*`)))
  );
}

const selects = (selector: LabelSelector, object: KubeObject | undefined): boolean =>
  matches(selector ?? {}, object?.metadata.labels);

function webhooksFor(objects: Objects, kind: ResourceType, write: Write): Json[] {
  if (exempt.has(write.type.plural)) return [];
  const { type, object } = write;
  const namespace = type.namespaced ? objects.get(resources.namespaces, object.metadata.namespace!) : undefined;
  return objects
    .list(kind)
    .sort((a, b) => a.metadata.name!.localeCompare(b.metadata.name!))
    .flatMap((configuration) => configuration.webhooks ?? [])
    .filter(
      (webhook: Json) =>
        webhook.rules?.some((rule: Json) => ruleFits(rule, write)) &&
        (!namespace || selects(webhook.namespaceSelector, namespace)),
    );
}

/** Whether anybody is to be asked about a write. */
export const isAdmitted = (objects: Objects, write: Write): boolean =>
  [resources.mutatingWebhooks, validatingWebhooks].some((kind) => webhooksFor(objects, kind, write).length > 0);

/** The object after all webhooks; throws where one refuses, or fails under failurePolicy Fail. */
export async function admit(objects: Objects, write: Write, log: (message: string) => void): Promise<KubeObject> {
  let current = write.object;
  for (const webhook of webhooksFor(objects, resources.mutatingWebhooks, write)) {
    if (!selects(webhook.objectSelector, current)) continue;
    const answer = await ask(objects, webhook, { ...write, object: current }, log);
    if (write.operation !== 'DELETE' && answer?.patch) current = patched(webhook, current, answer.patch, log);
  }
  const last = { ...write, object: current };
  const validating = webhooksFor(objects, validatingWebhooks, last).filter((one) =>
    selects(one.objectSelector, current),
  );
  await Promise.all(validating.map((webhook) => ask(objects, webhook, last, log)));
  return current;
}

/** A failure of the webhook itself, as its policy takes it. */
function failed(webhook: Json, error: unknown, log: (message: string) => void): void {
  if (error instanceof StatusError) throw error;
  const message = `failed calling webhook "${webhook.name}": ${(error as Error).message}`;
  if (webhook.failurePolicy !== 'Ignore')
    throw new StatusError(500, 'InternalError', `Internal error occurred: ${message}`);
  log(`${message}; ignored, as its failurePolicy says`);
}

function patched(webhook: Json, object: KubeObject, patch: string, log: (message: string) => void): KubeObject {
  try {
    const next = structuredClone(object);
    const operations = JSON.parse(Buffer.from(patch, 'base64').toString()) as Operation[];
    const problem = applyPatch(next, operations).find((error) => error);
    if (problem) throw new Error(`its patch does not apply: ${problem.message}`);
    return next;
  } catch (error) {
    failed(webhook, error, log);
    return object;
  }
}

/** The answer of a webhook that allows the write; undefined where it failed and may be ignored. */
async function ask(objects: Objects, webhook: Json, write: Write, log: (message: string) => void): Promise<Json> {
  try {
    return await call(objects, webhook, write);
  } catch (error) {
    failed(webhook, error, log);
    return undefined;
  }
}

async function call(objects: Objects, webhook: Json, write: Write): Promise<Json> {
  const { type, operation, subresource, object, before, user, dryRun } = write;
  const { service, url } = webhook.clientConfig;
  const stored = service && objects.get(resources.services, service.name, service.namespace);
  if (service && !stored) throw new Error(`service ${service.namespace}/${service.name} not found`);
  const name = service ? `${service.name}.${service.namespace}.svc` : new URL(url).hostname;
  const target = service ? `https://${stored.spec.clusterIP}:${service.port}${service.path ?? '/'}` : url;
  const uid = randomUUID();
  const kind = { group: type.group, version: type.version, kind: type.kind };
  const resource = { group: type.group, version: type.version, resource: type.plural };
  const options = { CREATE: 'CreateOptions', UPDATE: 'UpdateOptions', DELETE: 'DeleteOptions' }[operation];
  const review = {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid,
      kind,
      resource,
      ...(subresource ? { subResource: subresource } : {}),
      requestKind: kind,
      requestResource: resource,
      name: object.metadata.name ?? '',
      namespace: object.metadata.namespace,
      operation,
      userInfo: { username: user, groups: [] },
      object: operation === 'DELETE' ? null : object,
      oldObject: operation === 'DELETE' ? object : (before ?? null),
      dryRun,
      options: { apiVersion: 'meta.k8s.io/v1', kind: options },
    },
  };
  const ca = webhook.clientConfig.caBundle
    ? Buffer.from(webhook.clientConfig.caBundle, 'base64').toString()
    : undefined;
  const answer = JSON.parse(
    await post(target, name, ca, JSON.stringify(review), webhook.timeoutSeconds * 1000),
  ) as Json;
  const { response } = answer;
  if (response?.uid !== uid) throw new Error('the answer is not for this request');
  if (response.allowed) return response;
  const why = response.status?.message;
  throw new StatusError(
    response.status?.code ?? 403,
    response.status?.reason ?? 'Forbidden',
    `admission webhook "${webhook.name}" denied the request${why ? `: ${why}` : ' without explanation'}`,
  );
}

function post(
  url: string,
  servername: string,
  ca: string | undefined,
  body: string,
  timeoutMs: number,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      url,
      {
        method: 'POST',
        servername,
        ...(ca ? { ca } : {}),
        signal: AbortSignal.timeout(timeoutMs),
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxResponseBytes) request.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
          else reject(new Error(`status ${response.statusCode}`));
        });
      },
    );
    request.on('error', (error) =>
      reject(
        error.name === 'TimeoutError' || error.name === 'AbortError'
          ? new Error(`no answer within ${timeoutMs / 1000} s`)
          : error,
      ),
    );
    request.end(body);
  });
}
