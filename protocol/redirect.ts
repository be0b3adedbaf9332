/** What the CNI plugin is told to redirect: the value of the annotation `mesh.dev/redirect`. */

export interface SkippedPorts {
  /** Ports or ranges (`80`, `1000-2000`) that the proxy never sees. */
  skipInbound: readonly string[];
  skipOutbound: readonly string[];
}

const split = (list: string): string[] =>
  list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

/** `cni`, `cni;skip-inbound=22,9000-9010;skip-outbound=25` */
export function formatRedirect(skipInbound: string | undefined, skipOutbound: string | undefined): string {
  const inbound = split(skipInbound ?? '');
  const outbound = split(skipOutbound ?? '');
  return [
    'cni',
    ...(inbound.length > 0 ? [`skip-inbound=${inbound.join(',')}`] : []),
    ...(outbound.length > 0 ? [`skip-outbound=${outbound.join(',')}`] : []),
  ].join(';');
}

/**
 * The ports are as they are written: who puts them into rules checks them first.
 * @throws Error where it is no value that injection writes
 */
export function parseRedirect(value: string): SkippedPorts {
  const [mode, ...fields] = value.split(';');
  if (mode !== 'cni') throw new Error(`"${value}" does not begin with cni`);
  const given = new Map(fields.map((field) => field.split('=', 2) as [string, string | undefined]));
  for (const [name, ports] of given)
    if ((name !== 'skip-inbound' && name !== 'skip-outbound') || !ports)
      throw new Error(`"${value}": "${name}" is neither skip-inbound=PORTS nor skip-outbound=PORTS`);
  return { skipInbound: split(given.get('skip-inbound') ?? ''), skipOutbound: split(given.get('skip-outbound') ?? '') };
}
