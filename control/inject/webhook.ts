/** The injector: a mutating webhook on the creation of pods. It never keeps a pod from starting. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import { createPatch } from 'rfc6902';
import { injectPod } from '../../inject/index.ts';
import type { InjectResult } from '../../inject/types.ts';
import { type KubeClient, KubeError } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { webhookName } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import { type Cluster, workloadOf } from '../cluster/index.ts';
import type { Config } from '../config.ts';
import type { OwnCertificate } from '../identity/own-certificate.ts';
import type { Log } from '../log.ts';
import { readBody, TooLarge } from '../read-body.ts';
import { InjectionEvents } from './events.ts';

const maxBodyBytes = 4 << 20;
/**
 * API servers keep an idle connection for 90 seconds. A server that closes it sooner may do so in the moment in which a
 * pod comes; the call fails then, and the pod starts without a proxy.
 */
const keepAliveMs = 5 * 60_000;

export interface WebhookOptions {
  config: Config;
  kube: Pick<KubeClient, 'find' | 'create'>;
  cluster: Cluster;
  own: OwnCertificate;
  log: Log;
}

export class Webhook {
  readonly server: https.Server;
  /** Pods looked at, by what became of them: `injected`, or the code of why not. */
  readonly results = new Map<string, number>();
  readonly #options: WebhookOptions;
  readonly #events: InjectionEvents;
  #leaving = false;

  constructor(options: WebhookOptions) {
    this.#options = options;
    this.#events = new InjectionEvents(options.kube, options.log);
    this.server = https.createServer(
      { key: options.own.key, cert: options.own.cert, minVersion: 'TLSv1.2' },
      (request, response) => void this.#serve(request, response),
    );
    // The API server gives up after five seconds.
    this.server.requestTimeout = 10_000;
    this.server.headersTimeout = 10_000;
    this.server.keepAliveTimeout = keepAliveMs;
  }

  /** Answers on, and keeps no connection: the next call goes to another replica. */
  drain(): void {
    this.#leaving = true;
  }

  renew(own: OwnCertificate): void {
    this.server.setSecureContext({ key: own.key, cert: own.cert, minVersion: 'TLSv1.2' });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#leaving) response.setHeader('connection', 'close');
    const answer = (status: number, text: string, type: string) =>
      response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) }).end(text);
    try {
      const { request: asked } = JSON.parse(await readBody(request, maxBodyBytes)) as Json;
      if (typeof asked?.uid !== 'string' || typeof asked.object?.metadata !== 'object')
        throw new Error('not an AdmissionReview of a pod');
      const reviewed = {
        uid: asked.uid,
        ...(await this.#review(asked.object, asked.namespace, asked.dryRun === true)),
      };
      const review = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: reviewed };
      answer(200, JSON.stringify(review), 'application/json');
    } catch (error) {
      const { message: reason } = error as Error;
      this.#options.log.warn('webhook call not answered', { reason, from: request.socket.remoteAddress });
      answer(error instanceof TooLarge ? 413 : 400, `${reason}\n`, 'text/plain');
    }
  }

  async #review(pod: KubeObject, namespace: string, dryRun: boolean): Promise<object> {
    try {
      const result = this.#inject(pod, namespace, await this.#annotationsOf(namespace));
      if (!dryRun) this.#tell(pod, namespace, result);
      return this.#answer(pod, namespace, result);
    } catch (error) {
      const { message: reason } = error as Error;
      this.#count('internal');
      this.#options.log.error('injection failed; the pod starts without a proxy', {
        namespace,
        pod: pod.metadata.name,
        reason,
      });
      return { allowed: true, warnings: [`mesh: injection failed: ${reason}`] };
    }
  }

  /** A namespace made a moment ago, with its first pod behind it, may not have come by watch yet. */
  async #annotationsOf(namespace: string): Promise<Record<string, string> | undefined> {
    const { cluster, kube } = this.#options;
    const known = cluster.namespaces.get(undefined, namespace) ?? (await kube.find(resources.namespaces, namespace));
    return known?.metadata.annotations;
  }

  #count(result: string): void {
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
  }

  #inject(pod: KubeObject, namespace: string, annotations: Record<string, string> | undefined): InjectResult {
    const { config } = this.#options;
    const owner = workloadOf({ ...pod, metadata: { ...pod.metadata, namespace } });
    return injectPod(
      { metadata: pod.metadata as never, spec: pod.spec },
      { kind: owner.kind, name: owner.name ?? pod.metadata.generateName ?? '', namespace },
      {
        image: config.image,
        version,
        trustDomain: config.trustDomain,
        cni: config.cni,
        explicit: false,
        ...(annotations ? { namespaceAnnotations: annotations } : {}),
      },
    );
  }

  /** Where nobody asked there is nothing to tell; where it is there already, it was told. */
  #tell(pod: KubeObject, namespace: string, result: InjectResult): void {
    if (result.outcome === 'injected') {
      const message = `the proxy of mesh ${version} was added to the pod, and to those that follow`;
      this.#events.tell(pod, namespace, 'Injected', message);
    } else if (result.outcome === 'failed' || result.code === 'annotation-disabled') {
      const message = `the pod has no proxy (${result.code}): ${result.reason}`;
      this.#events.tell(pod, namespace, 'InjectionSkipped', message);
    }
  }

  #answer(pod: KubeObject, namespace: string, result: InjectResult): object {
    const { log } = this.#options;
    const name = pod.metadata.name ?? `${pod.metadata.generateName ?? ''}*`;
    // Nobody asked: no word about it. Asked and impossible, or asked in words it does not know: told to who asked.
    const said = [...(result.outcome === 'failed' ? [result.reason] : []), ...result.warnings];
    // A controller that creates pods shows its warnings to nobody.
    if (said.length > 0) log.warn('pod not as it asks to be', { namespace, pod: name, reasons: said });
    const warnings = said.length > 0 ? { warnings: said.map((one) => `mesh: ${one}`) } : {};
    if (result.outcome !== 'injected') {
      this.#count(result.code);
      log.debug('pod not injected', { namespace, pod: name, code: result.code });
      return { allowed: true, ...warnings, auditAnnotations: { injection: result.code } };
    }
    this.#count('injected');
    log.info('pod injected', { namespace, pod: name });
    const patch = createPatch(
      { metadata: pod.metadata, spec: pod.spec },
      { metadata: result.template.metadata, spec: result.template.spec },
    );
    const encoded = Buffer.from(JSON.stringify(patch)).toString('base64');
    return { allowed: true, patchType: 'JSONPatch', patch: encoded, ...warnings };
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
  try {
    await kube.replace(resources.mutatingWebhooks, next);
  } catch (error) {
    // Another replica was quicker: looked at again with the next round.
    if (error instanceof KubeError && error.status === 409) return false;
    throw error;
  }
  return true;
}
