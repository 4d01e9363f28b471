/** Who travelled together, and what became of them. */
import type { Passenger } from './passengers.js';
import { familyNameOf, familySizeOf, titleOf } from './traits.js';

/**
 * Groups on one ticket, or of one family. Families and friends looked for each other: what became of the women and children of a
 * group says much about the next one. Only training passengers are known here, and nobody counts as a companion of himself,
 * so that a passenger's own fate is never part of his features.
 */
export class Companions {
  private constructor(private readonly groups: ReadonlyMap<string, readonly Passenger[]>) {}

  static of(training: readonly Passenger[]): Companions {
    const groups = new Map<string, Passenger[]>();
    for (const passenger of training) {
      for (const key of groupsOf(passenger)) {
        const members = groups.get(key);
        if (members === undefined) groups.set(key, [passenger]);
        else members.push(passenger);
      }
    }
    return new Companions(groups);
  }

  /** Known people on the passenger's ticket, himself among them. */
  groupSize(passenger: Passenger): number {
    const key = ticketOf(passenger);
    return 1 + (key === null ? 0 : this.others(passenger, [key]).length);
  }

  /** −1 … 1: whether most of the women and children who travelled with this passenger drowned or lived; 0 where none is known. */
  ofWomenAndChildren(passenger: Passenger): number {
    return fate(this.others(passenger).filter((other) => !isMan(other)));
  }

  /** The same of the men. */
  ofMen(passenger: Passenger): number {
    return fate(this.others(passenger).filter(isMan));
  }

  private others(passenger: Passenger, keys = groupsOf(passenger)): Passenger[] {
    const found = new Set(keys.flatMap((key) => this.groups.get(key) ?? []));
    return [...found].filter(({ id }) => id !== passenger.id);
  }

  /** Members of all groups by number, to be looked at. */
  toJSON(): unknown {
    return [...this.groups]
      .filter(([, members]) => members.length > 1)
      .map(([key, members]) => [key, members.map(({ id, survived }) => [id, survived])]);
  }
}

function ticketOf({ ticket }: Passenger): string | null {
  // Some are LINE: crew of the company, on no common ticket.
  return ticket === null || ticket === 'LINE' ? null : `ticket ${ticket}`;
}

function groupsOf(passenger: Passenger): string[] {
  const ticket = ticketOf(passenger);
  const name = familyNameOf(passenger);
  const size = familySizeOf(passenger);
  const family = name === null || size === 1 ? null : `family ${name}, ${size}, class ${passenger.class}`;
  return [ticket, family].filter((key) => key !== null);
}

function isMan(passenger: Passenger): boolean {
  return passenger.sex === 'male' && titleOf(passenger) !== 'Master';
}

/** The mean of ±1, drawn towards 0 as by one more who is neither. */
function fate(group: readonly Passenger[]): number {
  return group.reduce((sum, { survived }) => sum + (survived === 1 ? 1 : -1), 0) / (group.length + 1);
}
