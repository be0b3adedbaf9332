/** Makes an input that fails as short as it goes, first by lines, then by bytes. */

const maxTries = 400;
/** A case that hangs takes its deadline each time. */
const maxMs = 20_000;

/** `fails` tells whether a shorter input still fails in the same way. */
export async function shrink(input: string, fails: (shorter: string) => Promise<boolean>): Promise<string> {
  let tries = 0;
  const until = performance.now() + maxMs;
  let best = input;
  const attempt = async (shorter: string): Promise<boolean> => {
    if (shorter === best || tries++ >= maxTries || performance.now() > until || !(await fails(shorter))) return false;
    best = shorter;
    return true;
  };
  for (const pieces of [(text: string) => text.split(/(?<=\r\n)/), (text: string) => [...text]]) {
    for (let size = Math.ceil(pieces(best).length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < pieces(best).length; ) {
        const all = pieces(best);
        all.splice(at, size);
        if (!(await attempt(all.join('')))) at += size;
      }
    }
  }
  return best;
}
