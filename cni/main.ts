/** The CNI plugin: started by the container runtime as root on the node, once for each call. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { handle } from './handle.ts';
import { apiFile } from './layout.ts';
import { redirectOf } from './pod-annotation.ts';
import { PodNamespace } from './pod-namespace.ts';
import { errorOutput, readRequest, supportedVersions } from './spec.ts';

const folder = import.meta.dirname;
const warn = (why: string): boolean => process.stderr.write(`mesh-cni: ${why}\n`);
let version = supportedVersions.at(-1)!;
try {
  const request = readRequest(process.env, readFileSync(0, 'utf8'));
  version = request.config.cniVersion;
  const space = new PodNamespace(folder, warn);
  const output = await handle(request, {
    redirectOf: (asked) => redirectOf(asked, join(folder, '..', apiFile), warn),
    write: (netns, skipped) => space.write(netns, skipped),
    has: (netns) => space.has(netns),
  });
  if (output !== '') process.stdout.write(`${output}\n`);
} catch (error) {
  process.stdout.write(`${errorOutput(version, error)}\n`);
  process.exitCode = 1;
}
