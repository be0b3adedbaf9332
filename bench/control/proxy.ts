/** A simulated proxy: a real one's identity and discovery, the telemetry it would send, and no traffic. */

import type { Address, ControlMessage, Target } from '../../protocol/discovery.ts';
import { formatSpiffeId } from '../../protocol/identity.ts';
import { controlName, controlNamespace, defaultTrustDomain as trustDomain } from '../../protocol/names.ts';
import { discoveryPort, identityPort } from '../../protocol/ports.ts';
import type { TelemetryReport } from '../../protocol/telemetry.ts';
import { version } from '../../protocol/version.ts';
import { DiscoveryClient } from '../../proxy/discovery/client.ts';
import { createLogger } from '../../proxy/log.ts';
import { Credentials } from '../../proxy/tls/credentials.ts';
import { IdentityClient } from '../../proxy/tls/identity-client.ts';

const host = '127.0.0.1';
const log = createLogger('error');
const controlIdentity = formatSpiffeId({ trustDomain, namespace: controlNamespace, serviceAccount: controlName });

export interface SimulatedProxyOptions {
  namespace: string;
  pod: string;
  workload: string;
  tokenFile: string;
  trustBundle: string;
  subscriptions: readonly Address[];
  onCertified(): void;
  /** It knows everything it asked for (again). */
  onComplete(): void;
  onTarget(target: Target): void;
}

export class SimulatedProxy {
  readonly #options: SimulatedProxyOptions;
  readonly #discovery: DiscoveryClient;
  readonly #identity: IdentityClient;
  /** Reports that were not acknowledged, as a real proxy keeps them. */
  readonly #unacknowledged: TelemetryReport[] = [];
  readonly #missing = new Set<Address>();
  acknowledged = 0;

  constructor(options: SimulatedProxyOptions) {
    this.#options = options;
    const { namespace, pod, workload, tokenFile, trustBundle } = options;
    const credentials = new Credentials(trustBundle);
    const serviceAccount = workload;
    credentials.onChange(() => options.onCertified());
    const shared = { host, trustDomain, controlIdentity, credentials, log };
    const identity = formatSpiffeId({ trustDomain, namespace, serviceAccount });
    this.#identity = new IdentityClient({ ...shared, identity, port: identityPort, tokenFile });
    this.#discovery = new DiscoveryClient({
      ...{ ...shared, port: discoveryPort },
      hello: { type: 'hello', version, pod, namespace, workload: `deployment/${workload}` },
      onOpen: () => this.#onOpen(),
      onMessage: (message) => this.#onMessage(message),
      onClose: () => {},
    });
  }

  get connected(): boolean {
    return this.#discovery.connected;
  }

  get complete(): boolean {
    return this.connected && this.#missing.size === 0;
  }

  start(): void {
    this.#identity.start();
    this.#discovery.start();
  }

  report(report: TelemetryReport): void {
    this.#unacknowledged.push(report);
    this.#discovery.send({ type: 'telemetry', report });
  }

  #onOpen(): void {
    for (const address of this.#options.subscriptions) {
      this.#missing.add(address);
      this.#discovery.send({ type: 'subscribe', address });
    }
    for (const report of this.#unacknowledged) this.#discovery.send({ type: 'telemetry', report });
  }

  #onMessage(message: ControlMessage): void {
    if (message.type === 'telemetry-ack') {
      while (this.#unacknowledged[0] && this.#unacknowledged[0].sequence <= message.sequence) {
        this.#unacknowledged.shift();
        this.acknowledged++;
      }
    } else if (message.type === 'target') {
      this.#options.onTarget(message.target);
      if (this.#missing.delete(message.target.address) && this.#missing.size === 0) this.#options.onComplete();
    }
  }
}
