/** Settings of the agent: MESH_CNI_* and nothing else. */
import { isAbsolute } from 'node:path';

export interface AgentConfig {
  binDir: string;
  confDir: string;
}

/** Every variable and what it is; docs/configuration.md lists the same. */
export const agentVariables = {
  BIN_DIR: { about: "The node's folder of CNI binaries.", default: '/opt/cni/bin' },
  CONF_DIR: { about: "The node's folder of network configurations.", default: '/etc/cni/net.d' },
} as const;

export const variablePrefix = 'MESH_CNI_';

/** @throws Error naming every variable that is wrong */
export function readAgentConfig(env: NodeJS.ProcessEnv): AgentConfig {
  const problems: string[] = [];
  const folder = (name: keyof typeof agentVariables): string => {
    const value = env[variablePrefix + name] || agentVariables[name].default;
    if (!isAbsolute(value)) problems.push(`${variablePrefix}${name}: "${value}" is not an absolute path`);
    return value;
  };
  const config = { binDir: folder('BIN_DIR'), confDir: folder('CONF_DIR') };
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return config;
}
