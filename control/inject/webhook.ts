/** The injector: a mutating webhook on the creation of pods. It never keeps a pod from starting. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { createPatch } from 'rfc6902';
import { injectPod } from '../../inject/index.ts';
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { webhookName } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import { type Cluster, workloadOf } from '../cluster/index.ts';
import type { Config } from '../config.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import type { Log } from '../log.ts';

const maxBodyBytes = 4 << 20;

export interface WebhookOptions {
  config: Config;
  cluster: Cluster;
  own: OwnCertificate;
  log: Log;
}

export class Webhook {
  readonly server: https.Server;
  readonly #options: WebhookOptions;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.server = https.createServer(
      { key: options.own.key, cert: options.own.cert, minVersion: 'TLSv1.2' },
      (request, response) => this.#serve(request, response),
    );
  }

  renew(own: OwnCertificate): void {
    this.server.setSecureContext({ key: own.key, cert: own.cert, minVersion: 'TLSv1.2' });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBodyBytes) request.destroy();
      else chunks.push(chunk);
    });
    request.on('error', (error) => this.#options.log.warn('webhook call cut off', { reason: error.message }));
    request.on('end', () => {
      let answer: object;
      try {
        answer = this.#review(JSON.parse(Buffer.concat(chunks).toString()));
      } catch (error) {
        response.writeHead(400).end((error as Error).message);
        return;
      }
      const text = JSON.stringify(answer);
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
        .end(text);
    });
  }

  #review(review: Json): object {
    const { uid, object, namespace } = review.request;
    let response: object;
    try {
      response = this.#mutate(object as KubeObject, namespace as string);
    } catch (error) {
      this.#options.log.error('injection failed; the pod starts without a proxy', {
        namespace,
        pod: object?.metadata?.name,
        reason: (error as Error).message,
      });
      response = { allowed: true, warnings: [`mesh: injection failed: ${(error as Error).message}`] };
    }
    return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid, ...response } };
  }

  #mutate(pod: KubeObject, namespace: string): object {
    const { config, cluster, log } = this.#options;
    const owner = workloadOf({ ...pod, metadata: { ...pod.metadata, namespace } });
    const annotations = cluster.namespaces.get(undefined, namespace)?.metadata.annotations;
    const result = injectPod(
      { metadata: pod.metadata as never, spec: pod.spec },
      { kind: owner.kind, name: owner.name ?? pod.metadata.generateName ?? '', namespace },
      {
        image: config.image,
        version,
        trustDomain: config.trustDomain,
        explicit: false,
        ...(annotations ? { namespaceAnnotations: annotations } : {}),
      },
    );
    const name = pod.metadata.name ?? `${pod.metadata.generateName ?? ''}*`;
    if (result.outcome !== 'injected') {
      log.debug('pod not injected', { namespace, pod: name, code: result.code });
      // Nobody asked: no word about it. Asked and impossible: say so to whoever creates the pod.
      const asked = result.outcome === 'failed';
      return {
        allowed: true,
        ...(asked ? { warnings: [`mesh: ${result.reason}`] } : {}),
        auditAnnotations: { injection: result.code },
      };
    }
    log.info('pod injected', { namespace, pod: name });
    const patch = createPatch(
      { metadata: pod.metadata, spec: pod.spec },
      { metadata: result.template.metadata, spec: result.template.spec },
    );
    return {
      allowed: true,
      patchType: 'JSONPatch',
      patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      ...(result.warnings.length > 0 ? { warnings: result.warnings.map((warning) => `mesh: ${warning}`) } : {}),
    };
  }
}

/** Puts the roots that the API server must trust into the webhook's configuration; true where they are there. */
export async function keepCaBundle(kube: KubeClient, bundle: string): Promise<boolean> {
  const configuration = await kube.find(resources.mutatingWebhooks, webhookName);
  if (!configuration) return false;
  const wanted = Buffer.from(bundle).toString('base64');
  const stale = configuration.webhooks.some((webhook: Json) => webhook.clientConfig.caBundle !== wanted);
  if (!stale) return true;
  const next = structuredClone(configuration);
  for (const webhook of next.webhooks) webhook.clientConfig.caBundle = wanted;
  await kube.replace(resources.mutatingWebhooks, next);
  return true;
}
