import { describe, it } from 'vitest';
import type { Case } from '../conformance.js';
import { failingCases } from './run-all.js';

/** One vitest test per case, grouped by operation, whose cases run together; skipped ones show their reason. */
export function runCases(title: string, cases: readonly Case[]): void {
  const byOp = new Map<string, Case[]>();
  for (const c of cases) {
    const list = byOp.get(c.op);
    if (list) list.push(c);
    else byOp.set(c.op, [c]);
  }
  describe(title, () => {
    for (const [op, list] of byOp) {
      describe(op, () => {
        let failing: ReturnType<typeof failingCases> | undefined;
        for (const c of list) {
          it.skipIf(c.skip !== undefined)(
            `${c.group}: ${c.name}${c.skip ? ` (skipped: ${c.skip})` : ''}`,
            async () => {
              failing ??= failingCases(list.filter(({ skip }) => skip === undefined));
              const message = (await failing).get(c);
              if (message !== undefined) throw new Error(message);
            },
            // The first test of an operation waits for all of its cases.
            600_000,
          );
        }
      });
    }
  });
}
