/** The CNI specification as a plugin sees it: environment and configuration in, a result or an error out. */

/** Results are chained from 0.3.0 on; https://github.com/containernetworking/cni/blob/main/SPEC.md */
export const supportedVersions: readonly string[] = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'];

/** Error codes of the specification; from 100 on they are the plugin's own. */
export const errorCode = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  undecodable: 6,
  invalidConfig: 7,
  rules: 100,
  annotation: 101,
  internal: 102,
} as const;

export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, details?: string) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'VERSION' | 'STATUS' | 'GC';
const commands: readonly string[] = ['ADD', 'DEL', 'CHECK', 'VERSION', 'STATUS', 'GC'] satisfies Command[];

/** The network configuration that the runtime gives, as far as this plugin reads it. */
export interface NetworkConfig {
  cniVersion: string;
  name?: string;
  /** What the plugins before this one made; any shape of the configuration's version. */
  prevResult?: unknown;
  /** By capability: what the runtime adds for those that the plugin's configuration asks for. */
  runtimeConfig?: Record<string, unknown>;
}

export interface CniRequest {
  command: Command;
  config: NetworkConfig;
  /** Path of the pod's network namespace; empty where there is none. */
  netns: string;
  /** `CNI_ARGS`, e.g. K8S_POD_NAMESPACE, K8S_POD_NAME. */
  args: ReadonlyMap<string, string>;
}

/** @throws CniError */
export function readRequest(env: NodeJS.ProcessEnv, stdin: string): CniRequest {
  const { CNI_COMMAND: command = '', CNI_NETNS: netns = '', CNI_ARGS: args = '' } = env;
  if (!commands.includes(command))
    throw new CniError(errorCode.invalidEnvironment, `CNI_COMMAND "${command}" is none of ${commands.join(', ')}`);
  return { command: command as Command, config: readConfig(command, stdin), netns, args: readArgs(args) };
}

function readConfig(command: string, stdin: string): NetworkConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(stdin);
  } catch (error) {
    throw new CniError(errorCode.undecodable, 'the network configuration is no JSON', (error as Error).message);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new CniError(errorCode.undecodable, 'the network configuration is no object');
  const config = { cniVersion: '0.1.0', ...parsed };
  if (command !== 'VERSION' && !supportedVersions.includes(config.cniVersion))
    throw new CniError(
      errorCode.incompatibleVersion,
      `CNI version ${config.cniVersion} is not supported; the plugin knows ${supportedVersions.join(', ')}`,
    );
  return config;
}

/** `A=1;B=2` */
function readArgs(text: string): Map<string, string> {
  return new Map(
    text.split(';').flatMap((pair): [string, string][] => {
      const at = pair.indexOf('=');
      return at < 1 ? [] : [[pair.slice(0, at), pair.slice(at + 1)]];
    }),
  );
}

/** The pod that a request is about, as `namespace/name`; undefined outside of Kubernetes. */
export function podOf({ args }: CniRequest): { namespace: string; name: string } | undefined {
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_NAME')];
  return namespace && name ? { namespace, name } : undefined;
}

/** What a plugin prints where it fails. */
export function errorOutput(cniVersion: string, error: unknown): string {
  const { code, details } = error instanceof CniError ? error : { code: errorCode.internal, details: undefined };
  const { message } = error as Error;
  return JSON.stringify({ cniVersion, code, msg: message, ...(details === undefined ? {} : { details }) });
}
