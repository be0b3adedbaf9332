/** What supervisor and daemon, and launcher and supervisor, say to each other over Node's IPC channel. */

export interface Publication {
  /** namespace/name:port, for answers. */
  key: string;
  /** On 127.0.0.1 of this machine. */
  port: number;
  /** Service address and port inside the node's network. */
  address: string;
  targetPort: number;
}

export interface Failure {
  code: string;
  message: string;
  fix: string;
}

export type FromDaemon =
  | { type: 'ready' }
  | { type: 'failed'; failure: Failure }
  | { type: 'publish'; publications: Publication[] }
  | { type: 'dns'; id: number; query: string };

export type ToDaemon =
  | { type: 'published'; problems: Record<string, string> }
  | { type: 'dns'; id: number; reply: string | undefined };

export type FromSupervisor = { type: 'step'; step: string } | { type: 'ready' } | { type: 'failed'; failure: Failure };
