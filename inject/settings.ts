/** The few settings a pod or its namespace may carry as `config.mesh.dev/<name>` annotations; docs/injection.md lists the same. */
import { configPrefix } from '../protocol/names.ts';

export interface Setting {
  description: string;
  example: string;
  valid: (value: string) => boolean;
}

/** Comma list of ports and ranges, 1 to 65535. */
function ports(value: string): boolean {
  return value.split(',').every((part) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (!match) return false;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    return from >= 1 && to <= 65535 && from <= to;
  });
}

const quantity = (value: string) => /^\d+(\.\d+)?(m|k|M|G|Ki|Mi|Gi)?$/.test(value);

export const settings = {
  'skip-inbound-ports': {
    description: 'Ports whose inbound connections bypass the proxy',
    example: '9000,9100-9110',
    valid: ports,
  },
  'skip-outbound-ports': {
    description: 'Ports whose outbound connections bypass the proxy',
    example: '25',
    valid: ports,
  },
  'opaque-ports': { description: 'Inbound ports carried as TCP without parsing', example: '3306,5432', valid: ports },
  'proxy-cpu-request': { description: 'CPU the proxy requests', example: '100m', valid: quantity },
  'proxy-memory-request': { description: 'Memory the proxy requests', example: '64Mi', valid: quantity },
  'proxy-log-level': {
    description: 'Log level of the proxy: error, warn, info or debug',
    example: 'info',
    valid: (value) => ['error', 'warn', 'info', 'debug'].includes(value),
  },
  'shutdown-grace-period': {
    description: 'Seconds the proxy waits for requests in flight when it stops',
    example: '30',
    valid: (value) => /^\d{1,4}s?$/.test(value),
  },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** Settings in force: the namespace's, then the pod's; unknown names and bad values become warnings and are left out. */
export function readSettings(
  namespace: Record<string, string> | undefined,
  pod: Record<string, string> | undefined,
): { values: Partial<Record<SettingName, string>>; warnings: string[] } {
  const values: Partial<Record<SettingName, string>> = {};
  const warnings: string[] = [];
  for (const annotations of [namespace, pod]) {
    for (const [key, value] of Object.entries(annotations ?? {})) {
      if (!key.startsWith(configPrefix)) continue;
      const name = key.slice(configPrefix.length);
      if (!Object.hasOwn(settings, name)) warnings.push(`${key}: unknown setting, ignored`);
      else if (!settings[name as SettingName].valid(value)) {
        warnings.push(
          `${key}: "${value}" is not valid (for example ${settings[name as SettingName].example}), ignored`,
        );
      } else values[name as SettingName] = value;
    }
  }
  return { values, warnings: [...new Set(warnings)] };
}
