/** The pod's annotations from the API server: apart, since the client is more than all the rest of the plugin. */
import { resources } from '../kube/resources.ts';
import { RestClient } from '../kube/rest-client.ts';
import type { ApiAccess } from './pod-annotation.ts';

/** A pod start waits no longer than this for an API server that does not answer. */
const timeoutMs = 3_000;

/** undefined where there is no such pod, or it has none. @throws KubeError */
export async function annotationsOf(
  { namespace, name }: { namespace: string; name: string },
  { server, ca, token }: ApiAccess,
): Promise<Record<string, string> | undefined> {
  const headers = async () => ({ authorization: `Bearer ${token}` });
  const endpoint = { server, ca, headers, timeoutMs };
  const kube = new RestClient({ endpoint, name: server, namespace, local: false });
  try {
    return (await kube.find(resources.pods, name, namespace))?.metadata.annotations;
  } finally {
    kube.close();
  }
}
