import { describe, expect, it } from 'vitest';
import { exploreTable } from '../../src/data/explore.js';
import { HostRandom } from '../../src/data/random.js';
import { type Row, tableOf } from '../../src/data/table.js';
import { explorationHtml, formatExploration } from '../../src/train/explore-report.js';

const encode = (text: string) => text.split(' ').map((_, i) => i);

/** A text of noise and some words of its own. */
function textOf(random: HostRandom, own: string): string {
  const noise = Array.from(
    { length: 30 },
    () =>
      `w${'abcdefghij'[random.integer(10)]}${'klmnopqrst'[random.integer(10)]}${'uvwxyz'[random.integer(6)]}`,
  );
  return [...noise, own].join(' ');
}

function rows(n: number): Row[] {
  const random = new HostRandom(1);
  return Array.from({ length: n }, (_, i) => ({
    id: `d${i}`,
    text: textOf(random, i % 3 === 0 ? 'the ship went to sea' : 'the plough went to the field'),
    label: i % 3 === 0 ? 1 : 0,
    year: i % 5 === 0 ? null : 1900 + i,
  }));
}

describe('exploreTable', () => {
  it('counts rows, classes, gaps, lengths and words', async () => {
    const table = tableOf([
      ...rows(30),
      { id: 'x', text: '  ', label: 0 },
      { id: 'y', text: 'a b', label: null },
    ]);
    const e = await exploreTable(table, { encode, words: 3 });
    expect(e.rows).toBe(32);
    expect(e.documents.length).toBe(30);
    expect(e.documents.filter(({ label }) => label === 1).length).toBe(10);
    expect(e.missing).toEqual([
      { column: 'id', missing: 0, byClass: [0, 0] },
      // Rows that are no documents have no class.
      { column: 'text', missing: 1, byClass: [0, 0] },
      { column: 'label', missing: 1, byClass: [0, 0] },
      { column: 'year', missing: 8, byClass: [4, 2] },
    ]);
    expect([...e.skipped]).toEqual([
      ['no text', 1],
      ['no label', 1],
    ]);
    expect(e.documents[0].tokens).toBe(35);
    expect(e.documents[1].tokens).toBe(36);
    expect(e.frequent[0]).toMatchObject({ word: 'went', counts: [20, 10], documents: 30 });
    expect(new Set(e.typical[1].slice(0, 2).map(({ word }) => word))).toEqual(new Set(['sea', 'ship']));
    expect(new Set(e.typical[0].slice(0, 2).map(({ word }) => word))).toEqual(new Set(['field', 'plough']));
    expect(e.wordCount).toBe(10 * 35 + 20 * 36);
    expect(e.similar).toEqual([]);
    // Every third and by class, as splits are made for training.
    expect(e.splitBy).toEqual({ seed: 0 });
    const parts = ['train', 'validation', 'test'].map((name) => e.documents.filter((d) => d.split === name));
    expect(parts.map((p) => p.length)).toEqual([18, 6, 6]);
    expect(parts.map((p) => p.filter(({ label }) => label === 1).length)).toEqual([6, 2, 2]);
    expect((await exploreTable(table, { encode, limit: 10 })).rows).toBe(10);
  });

  it('says when a gap gives the class away', async () => {
    const told = rows(30).map((row): Row => ({ ...row, imdb: row.label === 1 ? 'tt1' : null }));
    const e = await exploreTable(tableOf(told), { encode });
    expect(formatExploration(e)).toContain(
      'imdb 20 (66.7 %, which tells the class: 100.0 % of class 0, 0.0 % of class 1)',
    );
    expect(formatExploration(e)).toContain('year 6 (20.0 %), imdb');
    expect(explorationHtml(e)).toContain('Whether imdb is missing tells the class');
  });

  it('finds twins, and those in two splits first', async () => {
    const base = rows(12).map((row, i): Row => ({ ...row, split: i < 9 ? 'train' : 'test' }));
    const near = String(base[2].text).replace('plough', 'plow');
    const table = tableOf([
      ...base,
      { id: 'copy', text: `“${String(base[3].text).toUpperCase()}!”`, label: 1, split: 'train' },
      { id: 'near', text: near, label: 0, split: 'test' },
      { id: 'copy of near', text: near, label: 0, split: 'test' },
    ]);
    const e = await exploreTable(table, { encode });
    expect(e.splitBy).toEqual({ column: 'split' });
    const found = e.similar.map(({ first, second, isExact, isLeak }) => [
      second.id,
      first.id,
      isExact,
      isLeak,
    ]);
    expect(found.slice(0, 2)).toEqual([
      ['near', 'd2', false, true],
      ['copy of near', 'd2', false, true],
    ]);
    expect(found.slice(2)).toEqual([
      ['copy', 'd3', true, false],
      ['copy of near', 'near', true, false],
    ]);
    for (const { similarity } of e.similar) expect(similarity).toBeGreaterThanOrEqual(0.5);
    const text = formatExploration(e);
    expect(text).toContain(
      '3 documents nearly repeat an earlier one. 3 documents have a twin in another split',
    );
    expect(text).toMatch(/near is like \(about 0\.\d\d\) d2 {2}\[test, train: leak\]/);
  });

  it('takes other splits for twins only where they are', async () => {
    const few = tableOf(rows(2));
    const e = await exploreTable(few, { encode });
    expect(e.splitBy).toBeNull();
    expect(formatExploration(e)).toContain('none, there are too few groups');
    const empty = await exploreTable(tableOf([], 'nothing', ['text', 'label']), { encode });
    expect(formatExploration(empty)).toContain('0: 0 of class 1');
    expect(explorationHtml(empty)).toContain('Missing values');
  });

  it('draws a page without script, whatever the texts hold', async () => {
    const e = await exploreTable(
      tableOf(
        [
          ...rows(9),
          { id: '<script>alert(1)</script>', text: 'twin of one and two and three and four', label: 1 },
          { id: '"&', text: 'twin of one and two and three and four', label: 0 },
        ],
        '<data>',
      ),
      { encode },
    );
    const page = explorationHtml(e);
    expect(page).toContain('Exploring &lt;data&gt;');
    expect(page).toContain('&lt;script&gt;alert(1)');
    expect(page).not.toContain('<script');
    expect(page.match(/<svg /g)?.length).toBe(4);
    expect(page).toContain('different');
  });
});
