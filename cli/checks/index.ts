/** What `mesh check` looks at, category by category; each check has an anchor in docs/checks.md. */
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { ControlStatus } from '../../protocol/api.ts';
import { controlName, controlNamespace, meshedLabel, webhookName } from '../../protocol/names.ts';
import { version } from '../../protocol/version.ts';
import { controlApi, isReadyPod } from '../control-api.ts';
import { troubleOf } from '../pod-trouble.ts';
import { controlTrouble, isRolledOut } from '../wait-for-control.ts';

export interface CheckContext {
  kube(): Promise<KubeClient>;
  now(): Date;
}

/** What a check throws for `warning`: it does not fail the run. */
export class CheckWarning extends Error {}

export interface Check {
  /** Anchor of docs/checks.md. */
  id: string;
  category: string;
  description: string;
  fix: string;
  /** Passes by itself once what is starting has started; nothing else is waited for. */
  retryable?: true;
  /** Only with --proxy. */
  proxy?: true;
  /** Resolves when all is well. @throws CheckWarning, or Error saying what is wrong */
  run(context: CheckContext): Promise<void>;
}

const day = 86_400_000;
const status = async (context: CheckContext) =>
  (await controlApi(await context.kube())).get<ControlStatus>('/v1/status');

function need(ok: unknown, why: string): asserts ok {
  if (!ok) throw new Error(why);
}

export const checks: Check[] = [
  {
    id: 'api-reachable',
    category: 'kubernetes-api',
    description: 'the Kubernetes API answers',
    fix: 'Check the kubeconfig, or run `mesh install` for a local mesh.',
    run: async (context) => void (await (await context.kube()).version()),
  },
  {
    id: 'namespace-exists',
    category: 'mesh-existence',
    description: `namespace ${controlNamespace} exists`,
    fix: 'Run `mesh install`.',
    run: async (context) =>
      need(await (await context.kube()).find(resources.namespaces, controlNamespace), 'the namespace does not exist'),
  },
  {
    id: 'control-available',
    category: 'mesh-control-plane',
    retryable: true,
    description: `deploy/${controlName} is available and its pods are ready`,
    fix: `Look at \`kubectl -n ${controlNamespace} describe pod\`.`,
    run: async (context) => {
      const kube = await context.kube();
      const deployment = await kube.find(resources.deployments, controlName, controlNamespace);
      need(deployment, 'the deployment does not exist');
      if (isRolledOut(deployment)) return;
      throw new Error((await controlTrouble(kube, deployment)).message);
    },
  },
  {
    id: 'identity-valid',
    category: 'mesh-identity',
    description: 'root and issuer certificates are valid, the root for 60 days or more',
    fix: 'Replace the root before it expires; the issuer renews itself.',
    run: async (context) => {
      const { root, issuer } = await status(context);
      const now = context.now().getTime();
      need(issuer.issued_by_root, 'the issuer is not signed by the root');
      need(Date.parse(issuer.not_after) > now, `the issuer expired on ${issuer.not_after}`);
      const last = Math.max(0, ...root.map((one) => Date.parse(one.not_after)));
      need(last > now, 'the root has expired');
      if (last < now + 60 * day) throw new CheckWarning(`the root expires on ${new Date(last).toISOString()}`);
    },
  },
  {
    id: 'webhook-ready',
    category: 'mesh-webhook',
    retryable: true,
    description: 'the injector is registered and its certificate is valid',
    fix: 'Run `mesh install` again, then read the log of the control plane.',
    run: async (context) => {
      const found = await (await context.kube()).find(resources.mutatingWebhooks, webhookName);
      need(found, `${webhookName} does not exist`);
      need(found.webhooks?.[0]?.clientConfig?.caBundle, 'the control plane has not written its caBundle yet');
      const { webhook } = await status(context);
      need(webhook && Date.parse(webhook.not_after) > context.now().getTime(), 'its certificate is not valid');
    },
  },
  {
    id: 'version-skew',
    category: 'mesh-version',
    description: 'command line and control plane have the same version',
    fix: 'Install the same version of both.',
    run: async (context) => {
      const control = (await status(context)).version;
      if (control !== version) throw new CheckWarning(`command line ${version}, control plane ${control}`);
    },
  },
  {
    id: 'proxies-ready',
    category: 'mesh-data-plane',
    description: 'pods with a proxy are ready, and no pod lacks one',
    fix: 'Restart the workloads that are named.',
    retryable: true,
    proxy: true,
    run: async (context) => {
      const kube = await context.kube();
      const pods = await kube.list(resources.pods, { labelSelector: `${meshedLabel}=enabled` });
      const ended = ['Succeeded', 'Failed'];
      const broken = pods.find((pod) => !ended.includes(pod.status?.phase) && !isReadyPod(pod));
      if (broken) throw new Error(troubleOf(broken).message);
      const [missing] = (await status(context)).unmeshed;
      if (missing) throw new CheckWarning(`${missing.namespace}/${missing.pod} has no proxy: ${missing.reason}`);
    },
  },
];
