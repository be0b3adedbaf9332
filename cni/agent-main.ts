/** The agent of the CNI plugin, in the DaemonSet `mesh-cni`. */
import http from 'node:http';
import { createInClusterClient, inClusterAccess } from '../kube/in-cluster.ts';
import { cniAdminPort } from '../protocol/ports.ts';
import { Agent, isUninstalled } from './agent.ts';
import { readAgentConfig } from './agent-config.ts';
import { PluginFiles } from './plugin-files.ts';

const log = (line: string): boolean => process.stderr.write(`${new Date().toISOString()} mesh-cni: ${line}\n`);

async function main(): Promise<void> {
  const config = readAgentConfig(process.env);
  const kube = createInClusterClient(process.env, (what, why) => log(`${what}: ${why ?? 'well again'}`));
  const agent = new Agent({
    config,
    files: new PluginFiles(config.binDir),
    access: () => inClusterAccess(process.env),
    log,
  });
  const stopping = new Promise((resolve) => process.once('SIGTERM', resolve));
  await agent.start();
  const server = http.createServer((_, response) => {
    const why = agent.waitingFor;
    response.writeHead(why === undefined ? 200 : 503).end(`${why ?? 'ready'}\n`);
  });
  server.listen(cniAdminPort, '127.0.0.1');
  await stopping;
  const remove = await isUninstalled(kube);
  log(remove ? 'uninstalled: the plugin is taken away' : 'the plugin stays, for the agent that comes next');
  await agent.stop(remove);
  server.close();
  kube.close();
}

main().then(
  () => process.exit(0),
  (error: Error) => {
    log(error.message);
    process.exit(1);
  },
);
