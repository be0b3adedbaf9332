/** A pod of the benchmarks on a local mesh: programs of this machine, and a folder of it at /bench. */

/** `commands`: container → what it runs. The label `app` is the pod's name. */
export function podOf(name: string, folder: string, commands: Record<string, string[]>): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: Object.entries(commands).map(([container, command]) => ({
        name: container,
        image: 'programs:here',
        command,
        volumeMounts: [{ name: 'bench', mountPath: '/bench' }],
      })),
      volumes: [{ name: 'bench', hostPath: { path: folder } }],
    },
  });
}
