/** One pair of proxies under test: client proxy → mutual TLS → server proxy → origin. */

/** Spoken on every hop, from the load generator to the origin. */
export type Protocol = 'http1' | 'http2';

export interface Peer {
  name: string;
  protocols: readonly Protocol[];
  /** What to install where it is missing; undefined where it is there. */
  missing(): string | undefined;
  /** Configuration files by name; mounted at /bench in both pods. `serverIp` is filled in for the client's. */
  files(serverIp: string, protocol: Protocol): Record<string, string>;
  /** Runs beside nginx in the server's pod. */
  server: string[];
  /** Runs in the client's pod, listens on 127.0.0.1:8000. */
  client: string[];
}

/** Port of the server proxy's TLS listener, and of the origin behind it. */
export const tlsPort = 8443;
export const originPort = 8080;
export const clientPort = 8000;
