import { expect, it } from 'vitest';
import { exploreTable } from '../../src/data/explore.js';
import { HostRandom } from '../../src/data/random.js';
import { splitDocuments } from '../../src/data/splits.js';
import { tableOf } from '../../src/data/table.js';
import { twinKeys } from '../../src/data/twins.js';

/** Words that no other text has in this order. */
function wordsOf(seed: number): string[] {
  const random = new HostRandom(seed);
  return Array.from(
    { length: 60 },
    () => `w${'abcdefghij'[random.integer(10)]}${'klmnopqrst'[random.integer(10)]}`,
  );
}

/** The first n words changed. */
const changed = (words: readonly string[], n: number) => words.map((word, i) => (i < n ? `${word}x` : word));

it('twinKeys joins what is nearly the same, through others too', () => {
  const a = wordsOf(1);
  const far = changed(a, 24);
  const texts = [far, wordsOf(2), a, changed(a, 12)].map((words) => words.join(' '));
  // Of their runs of five words the last shares 0.65 with the third and 0.56 with the first, which share 0.4.
  const keys = twinKeys(texts, { threshold: 0.6 });
  expect(keys[1]).not.toBe(keys[0]);
  expect(keys).toEqual(['twin 0', 'twin 1', keys[2], keys[2]]);
  expect(twinKeys(texts, { threshold: 0.5 })).toEqual(['twin 0', 'twin 1', 'twin 0', 'twin 0']);
  expect(twinKeys([])).toEqual([]);
});

it('as a further group they keep twins in one split', async () => {
  const documents = Array.from({ length: 60 }, (_, i) => ({
    id: `d${i}`,
    group: `g${i}`,
    label: (i % 2) as 0 | 1,
    text: changed(wordsOf(Math.floor(i / 3)), i % 3).join(' '),
  }));
  const keys = twinKeys(documents.map(({ text }) => text));
  expect(new Set(keys).size).toBe(20);
  const twins = new Map(documents.map((document, i) => [document, keys[i]]));
  const parts = splitDocuments(documents, { group: (document) => [document.group, twins.get(document)!] });
  const rows = (['train', 'validation', 'test'] as const).flatMap((split) =>
    parts[split].map((document) => ({ ...document, split })),
  );
  const encode = () => [1];
  const { similar } = await exploreTable(tableOf(rows), { encode });
  expect(similar.length).toBe(40);
  expect(similar.filter(({ isLeak }) => isLeak)).toEqual([]);
  const naive = await exploreTable(tableOf(documents), { encode });
  expect(naive.similar.some(({ isLeak }) => isLeak)).toBe(true);
});
