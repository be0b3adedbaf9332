/** Certificates for the peers of the benchmark: one root, one client and one server certificate, ECDSA P-256, by openssl. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

/** Writes ca.crt, client.{crt,key,pem} and server.{crt,key,pem} into a folder. */
export async function makeCertificates(folder: string): Promise<void> {
  const openssl = (...args: string[]) => execa('openssl', args, { cwd: folder });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...curve,
    '-days',
    '2',
    '-subj',
    '/CN=bench-root',
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
  );
  for (const name of ['client', 'server']) {
    await openssl('req', '-new', ...curve, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    await writeFile(path.join(folder, 'san'), 'subjectAltName=DNS:bench\nextendedKeyUsage=serverAuth,clientAuth\n');
    const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san'];
    await openssl('x509', '-req', '-in', `${name}.csr`, ...signing, '-out', `${name}.crt`);
    await execa('sh', ['-c', `cat ${name}.crt ${name}.key > ${name}.pem`], { cwd: folder });
  }
}
