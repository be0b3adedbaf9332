/** WATCH: what there is (where asked for), then every change, until the client goes or its time is up. */
import type { ServerResponse } from 'node:http';
import type { KubeObject, WatchEvent } from '../../kube/types.ts';
import type { Change, Store } from '../store/store.ts';
import { filterOf, listFor } from './list.ts';
import type { Registry } from './registry.ts';
import { typeKey } from './registry.ts';
import type { ApiRequest } from './request.ts';
import { badRequest, StatusError } from './status-error.ts';
import { tableOf } from './table.ts';

const bookmarkMs = 30_000;
/** A client that does not read is dropped rather than buffered for. */
const maxBufferedBytes = 16 << 20;

export function serveWatch(
  store: Store,
  registry: Registry,
  request: ApiRequest,
  response: ServerResponse,
  asTable: boolean,
): void {
  const { type, query, namespace } = request;
  const key = typeKey(type);
  const filter = filterOf(query);
  const from = query.get('resourceVersion') ?? '';
  const initial = query.get('sendInitialEvents') === 'true';
  const fresh = from === '' || from === '0' || initial;
  if (!fresh && !/^\d+$/.test(from)) throw badRequest(`resourceVersion: Invalid value: "${from}": it is no version`);
  // A version that is yet to come is one of another state: its holder has to list anew.
  const missed = fresh ? [] : Number(from) > store.version ? undefined : store.since(Number(from));
  if (!missed) throw new StatusError(410, 'Expired', `too old resource version: ${from} (${store.oldest})`);

  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache' });
  response.flushHeaders();
  const whole = query.get('includeObject') === 'Object';
  const send = (event: WatchEvent) => {
    const object =
      asTable && event.type !== 'BOOKMARK'
        ? tableOf(type, [event.object], { resourceVersion: event.object.metadata.resourceVersion ?? '' }, whole)
        : event.object;
    response.write(`${JSON.stringify({ type: event.type, object })}\n`);
    if (response.writableLength > maxBufferedBytes) response.destroy();
  };
  const bookmark = (annotations?: Record<string, string>) =>
    send({
      type: 'BOOKMARK',
      object: {
        kind: type.kind,
        apiVersion: type.group ? `${type.group}/${type.version}` : type.version,
        metadata: { resourceVersion: String(store.version), ...(annotations ? { annotations } : {}) },
      } as KubeObject,
    });
  /** A change as this watch sees it: an object that leaves the selection is deleted for it. */
  const pass = (change: Change) => {
    if (change.type !== key || (namespace && change.event.object.metadata.namespace !== namespace)) return;
    if (request.name && change.event.object.metadata.name !== request.name) return;
    const was = change.before !== undefined && filter(change.before);
    const is = change.event.type !== 'DELETED' && filter(change.event.object);
    if (is) send({ type: was ? 'MODIFIED' : 'ADDED', object: change.event.object });
    else if (was) send({ type: 'DELETED', object: change.event.object });
  };
  if (fresh) for (const object of listFor(registry, request)) send({ type: 'ADDED', object });
  if (initial) bookmark({ 'k8s.io/initial-events-end': 'true' });
  for (const change of missed) pass(change);
  const stop = store.listen(pass);
  const bookmarks = query.get('allowWatchBookmarks') === 'true' ? setInterval(() => bookmark(), bookmarkMs) : undefined;
  const seconds = Number(query.get('timeoutSeconds') ?? 0);
  const end = setTimeout(() => response.end(), (seconds > 0 ? seconds : 1800 + Math.random() * 1800) * 1000);
  response.on('close', () => {
    stop();
    clearInterval(bookmarks);
    clearTimeout(end);
  });
}
