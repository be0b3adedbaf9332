/** Calls the mutating webhooks that a new object falls under, in the order of their names. */

import { randomUUID } from 'node:crypto';
import https from 'node:https';
import { applyPatch, type Operation } from 'rfc6902';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject, ResourceType } from '../../kube/types.ts';
import type { LabelSelector } from '../controllers/workload.ts';
import { matches } from '../controllers/workload.ts';
import type { Objects } from '../objects.ts';
import { StatusError } from './status-error.ts';

const maxResponseBytes = 4 << 20;

function ruleFits(rule: Json, type: ResourceType): boolean {
  const fits = (list: string[], value: string) => list.includes('*') || list.includes(value);
  return (
    fits(rule.operations, 'CREATE') &&
    fits(rule.apiGroups, type.group) &&
    fits(rule.apiVersions, type.version) &&
    fits(rule.resources, type.plural)
  );
}

const selects = (selector: LabelSelector, object: KubeObject | undefined): boolean =>
  matches(selector ?? {}, object?.metadata.labels);

/** The object after all webhooks; throws where one refuses, or fails under failurePolicy Fail. */
export async function admit(
  objects: Objects,
  type: ResourceType,
  object: KubeObject,
  user: string,
  log: (message: string) => void,
): Promise<KubeObject> {
  let current = object;
  const configurations = objects
    .list(resources.mutatingWebhooks)
    .sort((a, b) => a.metadata.name!.localeCompare(b.metadata.name!));
  const namespace = type.namespaced ? objects.get(resources.namespaces, object.metadata.namespace!) : undefined;
  for (const webhook of configurations.flatMap((configuration) => configuration.webhooks ?? [])) {
    if (!webhook.rules?.some((rule: Json) => ruleFits(rule, type))) continue;
    if ((namespace && !selects(webhook.namespaceSelector, namespace)) || !selects(webhook.objectSelector, current))
      continue;
    try {
      current = await call(objects, webhook, type, current, user);
    } catch (error) {
      if (error instanceof StatusError) throw error;
      const message = `failed calling webhook "${webhook.name}": ${(error as Error).message}`;
      if (webhook.failurePolicy !== 'Ignore') throw new StatusError(500, 'InternalError', message);
      log(`${message}; ignored, as its failurePolicy says`);
    }
  }
  return current;
}

async function call(
  objects: Objects,
  webhook: Json,
  type: ResourceType,
  object: KubeObject,
  user: string,
): Promise<KubeObject> {
  const { service, url } = webhook.clientConfig;
  const stored = service && objects.get(resources.services, service.name, service.namespace);
  if (service && !stored) throw new Error(`service ${service.namespace}/${service.name} not found`);
  const name = service ? `${service.name}.${service.namespace}.svc` : new URL(url).hostname;
  const target = service ? `https://${stored.spec.clusterIP}:${service.port}${service.path ?? '/'}` : url;
  const uid = randomUUID();
  const review = {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid,
      kind: { group: type.group, version: type.version, kind: type.kind },
      resource: { group: type.group, version: type.version, resource: type.plural },
      requestKind: { group: type.group, version: type.version, kind: type.kind },
      requestResource: { group: type.group, version: type.version, resource: type.plural },
      name: object.metadata.name ?? '',
      namespace: object.metadata.namespace,
      operation: 'CREATE',
      userInfo: { username: user, groups: [] },
      object,
      oldObject: null,
      dryRun: false,
      options: { apiVersion: 'meta.k8s.io/v1', kind: 'CreateOptions' },
    },
  };
  const ca = webhook.clientConfig.caBundle
    ? Buffer.from(webhook.clientConfig.caBundle, 'base64').toString()
    : undefined;
  const answer = JSON.parse(
    await post(target, name, ca, JSON.stringify(review), webhook.timeoutSeconds * 1000),
  ) as Json;
  const response = answer.response;
  if (response?.uid !== uid) throw new Error('the answer is not for this request');
  if (!response.allowed) {
    throw new StatusError(
      response.status?.code ?? 403,
      response.status?.reason ?? 'Forbidden',
      `admission webhook "${webhook.name}" denied the request: ${response.status?.message ?? 'no reason given'}`,
    );
  }
  if (!response.patch) return object;
  const patched = structuredClone(object);
  const problems = applyPatch(
    patched,
    JSON.parse(Buffer.from(response.patch, 'base64').toString()) as Operation[],
  ).filter((error) => error);
  if (problems.length > 0) throw new Error(`its patch does not apply: ${problems[0]!.message}`);
  return patched;
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
    request.on('error', reject);
    request.end(body);
  });
}
