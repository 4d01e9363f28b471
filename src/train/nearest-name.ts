/** The known name that fewest edits lead to, if they are few: what somebody who mistyped a setting meant. */
export function nearestName(name: string, names: readonly string[]): string | null {
  const plain = (s: string): string => s.toLowerCase().replaceAll(/[-_]/g, '');
  let best: string | null = null;
  const own = name.replace(/^DAWNGRAD_/, '');
  let least = Math.max(2, Math.ceil(own.length / 3)) + 1;
  for (const candidate of names) {
    const edits = distance(plain(name), plain(candidate));
    if (edits < least) [best, least] = [candidate, edits];
  }
  return best;
}

/** @source Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals (1966) */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
