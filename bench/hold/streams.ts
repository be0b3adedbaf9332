/** `streams.ts URL COUNT PER`: asks for what is never answered, PER requests on a connection, until its input ends. */
import { connect } from 'node:http2';

const url = new URL(process.argv[2]!);
const [wanted, each] = [Number(process.argv[3]), Number(process.argv[4])];
let ended = 0;
for (let asked = 0; asked < wanted; asked += each) {
  const session = connect(url.origin);
  session.on('error', () => {}); // Its streams tell.
  await new Promise((resolve) => session.once('remoteSettings', resolve));
  for (let count = 0; count < Math.min(each, wanted - asked); count++)
    session
      .request({ ':path': url.pathname })
      .on('error', () => {})
      .on('close', () => ended++);
}
// Once more a while later: what was refused has come back by then.
setInterval(() => process.stdout.write(`${wanted - ended}\n`), 1000);
process.stdin.resume().on('end', () => process.exit(0));
