/** Category `mesh-webhook`: the injector is called, and trusted when it is. */
import { resources } from '../../kube/resources.ts';
import { webhookName } from '../../protocol/names.ts';
import { type Category, need, until } from './check.ts';

export const meshWebhook: Category = {
  name: 'mesh-webhook',
  needs: ['mesh-control-plane'],
  checks: [
    {
      id: 'webhook-ready',
      description: 'the injector is registered with the CA of the control plane',
      fix: 'Run `mesh install` again, then read `mesh logs control`.',
      fatal: true,
      retryable: true,
      run: async (context) => {
        const found = await (await context.kube()).find(resources.mutatingWebhooks, webhookName);
        need(found, `webhook ${webhookName} does not exist`);
        need(found.webhooks?.[0]?.clientConfig?.caBundle, 'the control plane has not written its caBundle yet');
        return undefined;
      },
    },
    {
      id: 'webhook-certificate',
      description: 'the certificate of the injector is valid',
      fix: 'The control plane renews it by itself; read `mesh logs control`.',
      run: async (context) => {
        const now = context.now().getTime();
        const { webhook } = (await context.status())[0]!.status;
        need(webhook, 'it has none');
        need(Date.parse(webhook.not_after) > now, `it expired on ${webhook.not_after}`);
        return `until ${until(webhook.not_after, now)}`;
      },
    },
  ],
};
