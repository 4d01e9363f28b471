/** Turns of engines, one after the other, and which of them count. */
import type { Quiet } from './quiet.js';

export interface Turn {
  /** ms per iteration. */
  readonly ms: number;
  /** Processor time of all threads. */
  readonly cpuMs: number;
}

export interface Turns<T extends Turn> {
  readonly run: number;
  readonly turns: readonly T[];
  /** How much the most disturbed of the turns was slowed down (1: not at all); null where nobody looked. */
  readonly worst: number | null;
}

/**
 * `rounds` turns of every engine, one after the other, each round beginning with another engine. With `quiet`, a turn
 * waits for a quiet moment and is repeated if it was disturbed, for `minutes`; then each engine's quietest turns count, as the
 * probes before and after them have it, whatever time they took.
 *
 * @param turn lets an engine take a turn; null where it cannot, and is left out from then on
 */
export async function runRounds<T extends Turn>(
  engines: readonly string[],
  turn: (engine: string) => Promise<T | null>,
  { rounds, quiet, minutes = 0 }: { rounds: number; quiet: Quiet | null; minutes?: number },
): Promise<Map<string, Turns<T>>> {
  const until = performance.now() + minutes * 60_000;
  // probeMs: the slower probe of before and after; 0 where nobody looked.
  const turns = new Map(engines.map((id) => [id, [] as { turn: T; probeMs: number }[]]));
  const isLeft = (id: string): boolean => {
    const all = turns.get(id);
    if (!all) return false;
    if (all.length < rounds) return true;
    if (!quiet || performance.now() > until) return false;
    return all.filter(({ probeMs }) => quiet.isQuiet(probeMs)).length < rounds;
  };
  for (let round = 0; ; round++) {
    const left = engines.map((_, i) => engines[(i + round) % engines.length]).filter(isLeft);
    if (left.length === 0) break;
    for (const id of left) {
      const before = quiet ? await quiet.wait(until) : 0;
      const ran = await turn(id);
      const after = quiet ? await quiet.probe() : 0;
      if (ran) turns.get(id)!.push({ turn: ran, probeMs: Math.max(before, after) });
      else turns.delete(id);
    }
  }
  return new Map(
    [...turns].map(([id, all]) => {
      const counted = all.toSorted((a, b) => a.probeMs - b.probeMs).slice(0, rounds);
      const worst = quiet && counted[counted.length - 1].probeMs / quiet.leastMs;
      return [id, { run: all.length, turns: counted.map(({ turn }) => turn), worst }];
    }),
  );
}
