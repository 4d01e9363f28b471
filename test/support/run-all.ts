/** Runs conformance cases without a test runner: in a browser page, in a bare script. */
import type { Case } from '../conformance.js';

export interface Failure {
  readonly group: string;
  readonly op: string;
  readonly name: string;
  readonly message: string;
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Report {
  readonly groups: Readonly<Record<string, Counts>>;
  readonly failures: readonly Failure[];
  /** Why cases were skipped, with how many each. */
  readonly skips: Readonly<Record<string, number>>;
}

/** Runs cases as `failingCases` does, and counts. */
export async function runAll(
  cases: readonly Case[],
  { concurrency = 64 }: { concurrency?: number } = {},
): Promise<Report> {
  const groups: Record<string, Counts> = {};
  const skips: Record<string, number> = {};
  const count = (c: Case, key: keyof Counts): void => {
    groups[c.group] ??= { passed: 0, failed: 0, skipped: 0 };
    groups[c.group][key]++;
  };
  const runnable = cases.filter((c) => {
    if (c.skip === undefined) return true;
    count(c, 'skipped');
    skips[c.skip] = (skips[c.skip] ?? 0) + 1;
    return false;
  });

  const failing = await failingCases(runnable, concurrency);
  for (const c of runnable) count(c, failing.has(c) ? 'failed' : 'passed');
  const failures = [...failing].map(([{ group, op, name }, message]) => ({ group, op, name, message }));
  return { groups, failures, skips };
}

/**
 * Runs the cases, `concurrency` at a time, and returns those that fail with what they say. While one waits for its
 * device others record, and their pipelines compile in parallel: nine times faster than one by one on lavapipe.
 *
 * A device reports an error to whoever waits next. So cases that expect one run alone, and what fails in company runs
 * again alone; where all of that passes, the failures in company stand.
 */
export async function failingCases(
  cases: readonly Case[],
  concurrency = 64,
): Promise<ReadonlyMap<Case, string>> {
  const suspects = new Map<Case, string>();
  await runSome(
    cases.filter(({ group }) => group !== 'error'),
    concurrency,
    suspects,
  );
  let failing = new Map<Case, string>();
  await runSome([...suspects.keys()], 1, failing);
  if (failing.size === 0) failing = suspects;
  await runSome(
    cases.filter(({ group }) => group === 'error'),
    1,
    failing,
  );
  return failing;
}

/** Runs cases, `width` at a time, and notes what fails. */
async function runSome(cases: readonly Case[], width: number, failing: Map<Case, string>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < cases.length) {
      const c = cases[next++];
      const message = await outcome(c);
      if (message !== null) failing.set(c, message);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
}

/** Null where the case passes, else what it says. */
async function outcome(c: Case): Promise<string | null> {
  try {
    await c.run();
    return null;
  } catch (e) {
    return e instanceof Error ? `${e.name}: ${e.message}` : String(e);
  }
}

/** The sum over groups. */
export function total(report: Report): Counts {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const c of Object.values(report.groups)) {
    sum.passed += c.passed;
    sum.failed += c.failed;
    sum.skipped += c.skipped;
  }
  return sum;
}
