import { describe, it } from 'vitest';
import type { Case } from '../conformance.js';

/** One vitest test per case, grouped by operation; skipped ones show their reason. */
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
        for (const c of list)
          it.skipIf(c.skip !== undefined)(`${c.group}: ${c.name}${c.skip ? ` (${c.skip})` : ''}`, () =>
            c.run(),
          );
      });
    }
  });
}
