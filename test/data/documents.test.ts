import { describe, expect, it } from 'vitest';
import {
  collectDocuments,
  filmKey,
  type LabelledDocument,
  readDocuments,
  titleKey,
} from '../../src/data/documents.js';
import { stripTags } from '../../src/data/markup.js';
import { type Row, tableOf } from '../../src/data/table.js';

const collect = async (rows: Row[], options = {}) =>
  (await collectDocuments(tableOf(rows), options)).documents;

const film = {
  movie_name: 'Alien_1979',
  imdb_id: 'tt0078748',
  title: 'Alien',
  year: 1979,
  summary: 'the summary',
  script: '<scene><character>ASH</character>You <i>still</i> don&apos;t understand</scene>',
  script_plain: 'the plain script',
  script_clean: 'the clean script',
  nominated: 0,
  winner: 1,
};

describe('readDocuments', () => {
  it('takes the best text and the label there is', async () => {
    const { script_clean, ...noClean } = film;
    const { script_plain, ...noPlain } = noClean;
    const { script, ...summaryOnly } = noPlain;
    expect(await collect([film])).toEqual([
      { id: 'Alien_1979', group: 'alien 1979', title: 'Alien', year: 1979, text: script_clean, label: 0 },
    ]);
    expect((await collect([noClean]))[0].text).toBe(script_plain);
    expect((await collect([noPlain]))[0].text).toBe("ASH\nYou still don't understand");
    expect((await collect([summaryOnly]))[0].text).toBe('the summary');
  });

  it('takes the text and the label asked for', async () => {
    const options = { text: 'summary', label: 'winner', id: 'imdb_id', group: 'imdb_id' };
    expect(await collect([film], options)).toEqual([
      { id: 'tt0078748', group: 'tt0078748', title: 'Alien', year: 1979, text: 'the summary', label: 1 },
    ]);
    expect((await collect([film], { text: 'script', stripTags: false }))[0].text).toBe(film.script);
    const tagged = { text: 'a <b>b</b>', label: 1 };
    expect((await collect([tagged]))[0].text).toBe(tagged.text);
    expect((await collect([tagged], { stripTags: true }))[0].text).toBe('a b');
  });

  it('understands labels as files write them', async () => {
    const labels = [0, 1, '0', '1', true, false, 'True', 'no', 'YES', 1n];
    const documents = await collect(labels.map((label) => ({ text: 'x', label })));
    expect(documents.map((d) => d.label)).toEqual([0, 1, 0, 1, 1, 0, 1, 0, 1, 1]);
    expect(documents.map((d) => d.id).slice(0, 2)).toEqual(['row 1', 'row 2']);
    expect(documents[0].group).toBe('row 1');
  });

  it('makes two classes of many, as told', async () => {
    const rows = ['comedy', 'tragedy', 'history'].map((genre) => ({ name: genre, text: 'x', genre }));
    const tragedies = await collect(rows, { label: 'genre', positive: ['tragedy'] });
    expect(tragedies.map((d) => [d.id, d.label])).toEqual([
      ['comedy', 0],
      ['tragedy', 1],
      ['history', 0],
    ]);
    const { documents, skipped } = await collectDocuments(tableOf(rows), {
      label: 'genre',
      positive: ['tragedy'],
      negative: ['comedy'],
    });
    expect(documents.map((d) => d.label)).toEqual([0, 1]);
    expect([...skipped]).toEqual([['other class', 1]]);
    await expect(collect(rows, { label: 'genre' })).rejects.toThrow(
      'readDocuments: expected 0 or 1 in genre of row 1 of rows in memory, got comedy; say with positive which values are 1',
    );
  });

  it('leaves rows without text or label out, and tells', async () => {
    const told: [string, number][] = [];
    const rows = [
      { text: 'a', label: 1 },
      { text: null, label: 1 },
      { text: ' \n', label: 0 },
      { text: 'd', label: null },
      { text: 'e', label: 0 },
    ];
    const { documents, skipped } = await collectDocuments(tableOf(rows), {
      onSkip: (reason: string, row: number) => told.push([reason, row]),
    });
    expect(documents.map((d) => [d.id, d.text])).toEqual([
      ['row 1', 'a'],
      ['row 5', 'e'],
    ]);
    expect(told).toEqual([
      ['no text', 2],
      ['no text', 3],
      ['no label', 4],
    ]);
    expect([...skipped]).toEqual([
      ['no text', 2],
      ['no label', 1],
    ]);
  });

  it('gives rows of one name different ids and one group', async () => {
    const rows = [1, 2, 3].map((n) => ({ name: n < 3 ? 'same' : 'other', text: 'x', label: 0 }));
    const documents = await collect(rows);
    expect(documents.map((d) => d.id)).toEqual(['same', 'same #2', 'other']);
    expect(documents.map((d) => d.group)).toEqual(['same', 'same', 'other']);
  });

  it('may be read more than once, up to a limit', async () => {
    const rows = [1, 2, 3].map((n) => ({ text: `${n}`, label: 0 }));
    const documents = readDocuments(tableOf(rows), { limit: 2 });
    for (let reading = 0; reading < 2; reading++) {
      const found: LabelledDocument[] = [];
      for await (const document of documents) found.push(document);
      expect(found.map((d) => d.text)).toEqual(['1', '2']);
    }
  });

  it('names missing columns and what there is before anything is read', () => {
    const table = tableOf([{ title: 'a', script: 'b', nominated: 1 }], 'films.parquet');
    expect(() => readDocuments(table, { text: 'script_clean' })).toThrow(
      'readDocuments: expected a column script_clean in films.parquet, got title, script, nominated; name the column of the text',
    );
    expect(() => readDocuments(table, { label: 'won' })).toThrow('name the column of the label');
    expect(() => readDocuments(tableOf([{ a: 1 }]))).toThrow(
      'readDocuments: expected a column for the text, one of script_clean, script_plain, script, summary, text, in ' +
        'rows in memory, got a; name the column of the text',
    );
    expect(() => readDocuments(tableOf([]))).toThrow('in rows in memory, got no columns; name the column');
  });

  it('refuses text that is none', async () => {
    await expect(collect([{ text: 5, label: 1 }])).rejects.toThrow(
      'readDocuments: expected text in text of row 1 of rows in memory, got 5',
    );
  });
});

describe('titleKey', () => {
  it.each([
    ['The Godfather', 'Godfather, The'],
    ['Amélie', 'AMELIE'],
    ['Dr. Strangelove', 'dr strangelove'],
    ['Thelma & Louise', 'Thelma and Louise'],
    ["Schindler's List", 'Schindler’s List'],
    ['Spider-Man', 'Spider Man'],
  ])('takes %s and %s for one', (a, b) => {
    expect(titleKey(a)).toBe(titleKey(b));
  });

  it('keeps apart what differs', () => {
    const titles = ['Alien', 'Aliens', '8½', '8', 'The', 'Them', '千と千尋', '!!!', '???'];
    expect(new Set(titles.map(titleKey)).size).toBe(titles.length);
    expect(filmKey('King Kong', 1933)).not.toBe(filmKey('King Kong', 1976));
  });
});

describe('stripTags', () => {
  it('takes tags out and keeps what is none', () => {
    expect(stripTags('<scene n="1">INT. HOUSE</scene><character>ANNA</character>')).toBe(
      'INT. HOUSE\n\nANNA',
    );
    expect(stripTags('a < b, b > c, I <3 you, x<y')).toBe('a < b, b > c, I <3 you, x<y');
    expect(stripTags('<?xml version="1.0"?><!-- note --><script>Go<br/>on</script>')).toBe('Go\non');
    expect(stripTags('Tom &amp; &lt;Jerry&gt; <b>run</b>ning')).toBe('Tom & <Jerry> running');
    expect(stripTags('a  \n\n\n\n\nb')).toBe('a\n\nb');
    expect(stripTags('')).toBe('');
  });

  it('takes no longer than the text is long', () => {
    for (const text of ['<'.repeat(300_000), `<a ${'b '.repeat(200_000)}`, '<!--'.repeat(100_000)]) {
      expect(stripTags(text).length).toBeGreaterThan(0);
    }
  });
});
