/** Which lists are maps in disguise, and by what key: for strategic merge and server-side apply. */

/** Field name → keys; where a list of that name is not in the table it is replaced as a whole. */
const listKeys: Record<string, readonly (readonly string[])[]> = {
  containers: [['name']],
  initContainers: [['name']],
  ephemeralContainers: [['name']],
  env: [['name']],
  volumes: [['name']],
  volumeMounts: [['mountPath']],
  volumeDevices: [['devicePath']],
  imagePullSecrets: [['name']],
  hostAliases: [['ip']],
  conditions: [['type']],
  ownerReferences: [['uid']],
  webhooks: [['name']],
  secrets: [['name']],
  topologySpreadConstraints: [['topologyKey', 'whenUnsatisfiable']],
};

/** Keys of a list by its field name and one of its items; undefined where the list is atomic. */
export function mergeKeys(field: string, item: unknown): readonly string[] | undefined {
  if (typeof item !== 'object' || item === null) return undefined;
  // A container's ports and a service's differ in their key.
  if (field === 'ports')
    return 'containerPort' in item ? ['containerPort', 'protocol'] : 'port' in item ? ['port', 'protocol'] : undefined;
  return listKeys[field]?.find((keys) => keys.some((key) => key in item));
}

const defaults: Record<string, string> = { protocol: 'TCP' };

/** Whether two items of a list are the same one. */
export function sameItem(keys: readonly string[], a: Record<string, unknown>, b: Record<string, unknown>): boolean {
  return keys.every((key) => (a[key] ?? defaults[key]) === (b[key] ?? defaults[key]));
}
