/** A call from one replica of the control plane to another, over mutual TLS. */
import https from 'node:https';
import type { OwnCertificate } from '../identity/own-certificate.ts';

const timeoutMs = 5_000;
const maxAnswerBytes = 32 << 20;

export interface PeerCall {
  agent: https.Agent;
  own: OwnCertificate;
  trustBundle: string;
  /** DNS name that the other's certificate must have. */
  serverName: string;
  address: string;
  port: number;
  path: string;
  /** Posted as it is; without one the path is read. */
  body?: string;
}

/** The other's answer. @throws Error where there is none, or another than 200 or 204 */
export function callPeer({
  agent,
  own,
  trustBundle,
  serverName,
  address,
  port,
  path,
  body,
}: PeerCall): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.request({
      agent,
      host: address,
      port,
      method: body === undefined ? 'GET' : 'POST',
      path,
      key: own.key,
      cert: own.cert,
      ca: trustBundle,
      servername: serverName,
      minVersion: 'TLSv1.3',
      timeout: timeoutMs,
      headers:
        body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxAnswerBytes) request.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('end', () => {
        if (response.statusCode === 200 || response.statusCode === 204) resolve(Buffer.concat(chunks).toString());
        else reject(new Error(`answered with status ${response.statusCode}`));
      });
    });
    request.end(body);
  });
}
