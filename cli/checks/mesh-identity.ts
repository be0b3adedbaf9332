/** Category `mesh-identity`: root, issuer, clocks, and the trust bundle in every namespace. */
import { X509Certificate } from 'node:crypto';
import { resources } from '../../kube/resources.ts';
import { trustBundleConfigMap } from '../../protocol/names.ts';
import { type Category, type CheckContext, CheckWarning, days, listed, need, until } from './check.ts';

/** Certificates are dated back by more than this. */
const bearableSkewMs = 10_000;

const first = async (context: CheckContext) => (await context.status())[0]!;

/** SHA-256 fingerprints of the certificates of a PEM text. */
function fingerprints(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).fingerprint256);
}

export const meshIdentity: Category = {
  name: 'mesh-identity',
  needs: ['mesh-control-plane'],
  checks: [
    {
      id: 'root-valid',
      description: 'the root certificate is valid',
      fix: 'Replace the root certificate; until then no new certificate is trusted.',
      fatal: true,
      run: async (context) => {
        const { root } = (await first(context)).status;
        const now = context.now().getTime();
        const valid = root.filter((one) => Date.parse(one.not_before) <= now && Date.parse(one.not_after) > now);
        need(
          valid.length > 0,
          listed(
            'none is valid now',
            root.map((one) => `${one.subject}: ${one.not_before} to ${one.not_after}`),
          ),
        );
        return undefined;
      },
    },
    {
      id: 'root-not-expiring',
      description: 'the root certificate is valid for 60 days more',
      fix: 'Replace the root certificate before it expires.',
      run: async (context) => {
        const { root } = (await first(context)).status;
        const now = context.now().getTime();
        const [last] = root.map((one) => one.not_after).sort((a, b) => Date.parse(b) - Date.parse(a));
        if (Date.parse(last!) < now + days(60)) throw new CheckWarning(`it expires on ${until(last!, now)}`);
        return `until ${until(last!, now)}`;
      },
    },
    {
      id: 'issuer-valid',
      description: 'the issuer certificate is valid and issued by the root',
      fix: 'The control plane renews it by itself; read `mesh logs control`.',
      run: async (context) => {
        const { issuer } = (await first(context)).status;
        const now = context.now().getTime();
        need(issuer.issued_by_root, 'it is not issued by the root');
        need(Date.parse(issuer.not_after) > now, `it expired on ${issuer.not_after}`);
        need(Date.parse(issuer.not_before) <= now, `it is valid only from ${issuer.not_before}: compare the clocks`);
        return `until ${until(issuer.not_after, now)}`;
      },
    },
    {
      id: 'clock-skew',
      description: 'the clocks of this machine and of the control plane agree',
      fix: 'Set the clocks by NTP: certificates are refused where clocks differ much.',
      run: async (context) => {
        for (const { status, askedAt } of await context.status()) {
          const skew = Date.parse(status.time) - askedAt;
          const seconds = Math.round(Math.abs(skew) / 1000);
          if (Math.abs(skew) > bearableSkewMs) {
            throw new CheckWarning(
              `the control plane is ${seconds} s ${skew > 0 ? 'ahead of' : 'behind'} this machine`,
            );
          }
        }
        return undefined;
      },
    },
    {
      id: 'trust-bundle',
      description: `config map ${trustBundleConfigMap} is current in every namespace`,
      fix: 'The control plane writes it; read `mesh logs control`.',
      retryable: true,
      run: async (context) => {
        const { root } = (await first(context)).status;
        const wanted = root.map((one) => one.sha256);
        const kube = await context.kube();
        const fieldSelector = `metadata.name=${trustBundleConfigMap}`;
        const maps = await kube.list(resources.configMaps, { fieldSelector });
        const bundles = new Map(maps.map((map) => [map.metadata.namespace, fingerprints(map.data?.['ca.crt'] ?? '')]));
        const namespaces = (await context.namespaces()).filter((one) => !one.metadata.deletionTimestamp);
        const names = namespaces.map((one) => one.metadata.name!);
        const stale = names.filter((name) => !wanted.every((sha256) => bundles.get(name)?.includes(sha256)));
        need(stale.length === 0, listed('missing or old in', stale));
        return `${names.length} namespaces`;
      },
    },
  ],
};
