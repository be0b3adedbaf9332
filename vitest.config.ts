import { defineConfig } from 'vitest/config';

/**
 * The rest of test/acceptance stays on one ground. demo: its subject is the local mesh that it makes and removes. cli:
 * what a terminal, a pipe and a machine without a cluster see; test/cluster/install and upgrade do it to a cluster.
 * cli-errors: what this machine lacks for a local mesh. fix: test/cluster/faults and cni fix pods of a cluster. grpc: its
 * libraries are in no image of the tests.
 */
const onBothGrounds = [
  'traffic',
  'http1',
  'http2',
  'encryption',
  'programs',
  'bulk',
  'faults',
  'operations',
  'bench',
  'retry-storm',
  'resilience',
];

/** Those that `npm test` has no time for. */
const inMinutes = ['test/acceptance/{shedding,bulk,faults}.test.ts', 'test/integration/{durability,removal}.test.ts'];

/**
 * `unit` sits beside the code and needs nothing but Node; `system` needs root (network namespaces, nft) and real
 * programs, and runs one file at a time so that measurements do not fight, as `load` does, which takes minutes of a busy
 * machine; `soak` takes minutes, mostly waiting, so its files run side by side; `cluster` needs a Kubernetes cluster and is run by `npm run test:cluster` alone. The acceptance
 * tests named below run on both grounds, a local mesh and a cluster, from the same files (test/support/ground.ts).
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{cli,cni,proxy,control,image,inject,protocol,kube,local,templates,examples,scripts,bench,load}/**/*.test.ts',
          ],
          setupFiles: ['proxy/net/test-overwrite.ts'],
          // They mostly wait for each other's sockets and timers.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
          testTimeout: 20_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/{integration,acceptance,fuzz}/**/*.test.ts'],
          exclude: inMinutes,
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'load',
          include: inMinutes,
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          name: 'soak',
          include: ['test/soak/*.test.ts'],
          testTimeout: 900_000,
          hookTimeout: 180_000,
          maxWorkers: 4,
          sequence: { groupOrder: 4 },
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts', `test/acceptance/{${onBothGrounds}}.test.ts`],
          env: { MESH_TEST_GROUND: 'cluster' },
          globalSetup: ['test/support/cluster-teardown.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
          sequence: { groupOrder: 5 },
        },
      },
    ],
  },
});
