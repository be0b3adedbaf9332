/**
 * What the plugin does with a call. Pods that are not meshed pass, whatever is wrong with the mesh; a meshed pod gets
 * the rules or does not start.
 */

import { parseRedirect, type SkippedPorts } from '../protocol/redirect.ts';
import { isPortRange } from '../proxy/net/redirect-rules.ts';
import { CniError, type CniRequest, errorCode, podOf, supportedVersions } from './spec.ts';

export interface Node {
  /** Value of the pod's annotation `mesh.dev/redirect`; undefined where it has none, or where nobody can tell. */
  redirectOf(request: CniRequest): Promise<string | undefined>;
  /** Writes the rules in a network namespace. @throws Error saying why it cannot */
  write(netns: string, skipped: SkippedPorts): void;
  /** Whether the rules are there. @throws Error where it cannot look */
  has(netns: string): boolean;
}

/** What the call prints. @throws CniError */
export async function handle(request: CniRequest, node: Node): Promise<string> {
  const { command, config } = request;
  switch (command) {
    case 'VERSION':
      return JSON.stringify({ cniVersion: config.cniVersion, supportedVersions });
    case 'ADD':
      await add(request, node);
      return JSON.stringify(previous(request));
    case 'CHECK':
      previous(request);
      await check(request, node);
      return '';
    // The rules go with the namespace, and the plugin keeps nothing.
    case 'DEL':
    case 'GC':
    case 'STATUS':
      return '';
  }
}

/** Handed on as it came: the runtime gives it in the version of the configuration. */
function previous({ config }: CniRequest): unknown {
  if (config.prevResult === undefined)
    throw new CniError(errorCode.invalidConfig, 'there is no prevResult: the plugin makes no network, it goes last');
  return config.prevResult;
}

async function add(request: CniRequest, node: Node): Promise<void> {
  const annotation = await node.redirectOf(request);
  if (annotation === undefined) return;
  const skipped = skippedPorts(request, annotation);
  try {
    node.write(namespaceOf(request), skipped);
  } catch (error) {
    if (error instanceof CniError) throw error;
    const why = (error as Error).message;
    throw new CniError(errorCode.rules, `mesh: the redirect rules of ${title(request)} cannot be written: ${why}`);
  }
}

async function check(request: CniRequest, node: Node): Promise<void> {
  if ((await node.redirectOf(request)) === undefined) return;
  if (!node.has(namespaceOf(request)))
    throw new CniError(errorCode.rules, `mesh: the redirect rules of ${title(request)} are gone`);
}

function namespaceOf({ netns }: CniRequest): string {
  if (netns === '') throw new CniError(errorCode.invalidEnvironment, 'CNI_NETNS is not set');
  return netns;
}

/** Anyone may write the annotation, and the rules are written as root: nothing but ports may get into them. */
function skippedPorts(request: CniRequest, annotation: string): SkippedPorts {
  const invalid = (why: string): CniError =>
    new CniError(errorCode.annotation, `mesh: annotation mesh.dev/redirect of ${title(request)}: ${why}`);
  let skipped: SkippedPorts;
  try {
    skipped = parseRedirect(annotation);
  } catch (error) {
    throw invalid((error as Error).message);
  }
  const bad = [...skipped.skipInbound, ...skipped.skipOutbound].find((part) => !isPortRange(part));
  if (bad !== undefined) throw invalid(`"${bad}" is not a port or a range such as 1000-2000`);
  return skipped;
}

function title(request: CniRequest): string {
  const pod = podOf(request);
  return pod ? `pod ${pod.name} in namespace ${pod.namespace}` : 'this pod';
}
