/** What is measured: a Deployment, by its name or by the URL that its clients use. */
import type { KubeClient } from '../../kube/client.ts';
import { resources } from '../../kube/resources.ts';
import type { Json, KubeObject } from '../../kube/types.ts';
import { clusterDomain, configPrefix, proxyContainer } from '../../protocol/names.ts';
import { CliError, UsageError } from '../errors.ts';
import { parseReference } from '../kinds.ts';
import { mustExist } from '../objects.ts';
import { type BenchFlags, wholeNumber } from './options.ts';

/** Before the cluster is asked. */
export type Asked =
  | { deployment: string; port: number | undefined; path: string }
  | { service: string; namespace: string | undefined; port: number; path: string; authority: string };

export interface Target {
  deployment: KubeObject;
  namespace: string;
  /** Of the copies' Services. */
  port: { port: number; targetPort: number | string; appProtocol?: string };
  /** Settings of the mesh on the Service that is asked for. */
  serviceAnnotations: Record<string, string>;
  path: string;
  /** `host` header; undefined for the copy's address. */
  authority: string | undefined;
}

const example = 'Use for example deploy/web --port 8080, or http://web.shop:80/path.';

/** @throws UsageError */
export function parseTarget(text: string, flags: Pick<BenchFlags, 'port' | 'path'>): Asked {
  const port = flags.port === undefined ? undefined : wholeNumber('--port', flags.port, 65_535);
  if (!text.includes('://')) {
    const { kind, name } = parseReference(text);
    if (kind !== 'deployment')
      throw new UsageError(`"${text}" is not a deployment: only those can be copied for a measurement`, example);
    const path = flags.path ?? '/';
    if (!/^\/[\x21-\x7e]*$/.test(path))
      throw new UsageError(`--path "${path}" is not a path`, 'Use for example --path /a?b=1.');
    return { deployment: name, port, path };
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:')
    throw new UsageError(
      `"${text}" is not an http:// URL`,
      'The mesh encrypts what is sent in plain text; TLS of the application is not measured.',
    );
  if (port !== undefined || flags.path !== undefined)
    throw new UsageError('--port and --path are for deploy/NAME', 'Write them into the URL.');
  const [service = '', namespace, ...rest] = url.hostname.split('.');
  if (!/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(service) || !['', 'svc', `svc.${clusterDomain}`].includes(rest.join('.')))
    throw new UsageError(`"${url.hostname}" is not the name of a service of the cluster`, example);
  return { service, namespace, port: Number(url.port || 80), path: url.pathname + url.search, authority: url.host };
}

/** @throws CliError `not-found` or `cannot-bench`, UsageError where the port must be named */
export async function findTarget(kube: KubeClient, asked: Asked): Promise<Target> {
  if ('deployment' in asked) {
    const { namespace } = kube;
    const deployment = await mustExist(kube, resources.deployments, asked.deployment, namespace);
    const port = asked.port ?? onlyPort(deployment);
    const { path } = asked;
    return {
      deployment,
      namespace,
      path,
      port: { port, targetPort: port },
      serviceAnnotations: {},
      authority: undefined,
    };
  }
  const namespace = asked.namespace ?? kube.namespace;
  const service = await mustExist(kube, resources.services, asked.service, namespace);
  const ports: Json[] = service.spec.ports ?? [];
  const found = ports.find((one) => one.port === asked.port);
  const title = `service ${asked.service} in namespace ${namespace}`;
  if (!found)
    throw new CliError({
      code: 'not-found',
      message: `There is no port ${asked.port} of ${title}; it has ${ports.map((one) => one.port).join(', ') || 'none'}`,
      fix: 'Name one of its ports in the URL.',
    });
  const annotations = Object.entries(service.metadata.annotations ?? {});
  return {
    deployment: await behind(kube, service, title),
    namespace,
    port: {
      ...{ port: found.port, targetPort: found.targetPort ?? found.port },
      ...(found.appProtocol === undefined ? {} : { appProtocol: found.appProtocol }),
    },
    serviceAnnotations: Object.fromEntries(annotations.filter(([name]) => name.startsWith(configPrefix))),
    path: asked.path,
    authority: asked.authority,
  };
}

function onlyPort({ metadata, spec }: KubeObject): number {
  const containers: Json[] = spec.template.spec.containers.filter((one: Json) => one.name !== proxyContainer);
  const ports: number[] = containers.flatMap((one) => one.ports ?? []).map((one: Json) => one.containerPort);
  if (ports.length === 1) return ports[0]!;
  const has = ports.length === 0 ? 'names no port' : `has ports ${ports.join(', ')}`;
  throw new UsageError(`deploy/${metadata.name} ${has}`, 'Pass --port NUMBER.');
}

/** The one Deployment whose pods a Service selects. */
async function behind(kube: KubeClient, service: KubeObject, title: string): Promise<KubeObject> {
  const selector = Object.entries((service.spec.selector ?? {}) as Record<string, string>);
  const all = await kube.list(resources.deployments, { namespace: service.metadata.namespace! });
  const labels = (one: KubeObject): Record<string, string> => one.spec.template.metadata?.labels ?? {};
  const chosen = all.filter(
    (one) => selector.length > 0 && selector.every(([key, value]) => labels(one)[key] === value),
  );
  const [deployment, ...others] = chosen;
  if (deployment && others.length === 0) return deployment;
  const names = chosen.map((one) => `deploy/${one.metadata.name}`).join(', ');
  throw new CliError({
    code: 'cannot-bench',
    message: deployment
      ? `Several deployments are behind ${title}: ${names}`
      : `No deployment is behind ${title}; only those can be copied for a measurement`,
    ...(deployment ? { fix: 'Name one of them in place of the URL.' } : {}),
  });
}
