/**
 * Who is there now, of many that come and go; in no order. Not a Set, whose table leads to the one that replaces it and
 * still holds what was in it: once one of them is in the old generation, all that comes later is kept until the whole heap is
 * marked.
 */

export interface Listed {
  /** Where it stands in its roster, of which it can be in one; -1 after it. The roster's own. */
  listedAt?: number;
}

export class Roster<T extends Listed> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  /** Nothing where it is there already. */
  add(member: T): void {
    if ((member.listedAt ?? -1) < 0) member.listedAt = this.#members.push(member) - 1;
  }

  /** Nothing where it is not there. */
  delete(member: T): void {
    const at = member.listedAt ?? -1;
    if (at < 0) return;
    const last = this.#members.pop()!;
    if (last !== member) {
      this.#members[at] = last;
      last.listedAt = at;
    }
    member.listedAt = -1;
  }

  /** Each that is there, as long as it is: members may come and go meanwhile, and those that come are not visited. */
  each(visit: (member: T) => void): void {
    // From the last on: who takes the place of one that goes was visited.
    for (let i = this.#members.length - 1; i >= 0; i--) {
      const member = this.#members[i];
      if (member) visit(member);
    }
  }
}
