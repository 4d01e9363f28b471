/** `dawngrad predict`, as a user runs it. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Utf8 } from 'apache-arrow';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { addPredictCommand } from '../../src/cli/predict.js';
import { wrapText } from '../../src/cli/wrap.js';
import { writeClassifierRun } from '../support/classifier-runs.js';
import { writeParquetFile } from '../support/parquet.js';

let folder: string;
let run: string;
const known = new Map<string, number>();
const TEXTS = [
  'To be, or not to be.',
  'Now is the winter\nof our discontent.',
  'one row',
  'another row',
  '',
  'In space',
];
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'dawngrad-predict-'));
  run = at('run');
  const { classifier, tokenizer } = await writeClassifierRun(run, {
    config: { text: 'body', positive: ['tragedy'], maxChunks: 4 },
  });
  // The command closes the device of the process when it is done.
  for (const text of TEXTS) known.set(text, (await classifier.probabilities([tokenizer.encode(text)]))[0]);
  mkdirSync(at('plays/deep'), { recursive: true });
  writeFileSync(at('plays/b.txt'), 'To be, or not to be.');
  writeFileSync(at('plays/deep/a.txt'), 'Now is the winter\r\nof our discontent.');
  writeFileSync(at('plays/genres.csv'), 'a,b\n');
  writeFileSync(at('long.txt'), 'Tomorrow and tomorrow and tomorrow. '.repeat(20));
  writeFileSync(at('empty.txt'), '');
  const rows = ['one row', 'another row', ''].map((body, i) => ({ id: `r${i}`, body, text: 'not this' }));
  writeFileSync(at('rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  writeFileSync(at('rows.csv'), 'title,words\nX,some words\n,other words\n');
  const column = (values: readonly (string | null)[]) => [new Utf8(), values] as const;
  writeParquetFile(at('films.parquet'), {
    movie_name: column(['Alien_1979', 'Up_2009']),
    script: column(['<scene>In space</scene>', null]),
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What goes to standard output, and to standard error. */
async function predict(...args: string[]): Promise<{ out: string; err: string }> {
  let [out, err] = ['', ''];
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(((text: string) => {
      out += text;
      return true;
    }) as never),
    vi.spyOn(console, 'log').mockImplementation((text: string) => {
      out += `${text}\n`;
    }),
    vi.spyOn(console, 'error').mockImplementation((text: string) => {
      err += `${text}\n`;
    }),
  ];
  const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  addPredictCommand(program);
  try {
    await program.parseAsync(['predict', '--model', run, '--device', 'cpu', ...args], { from: 'user' });
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  return { out, err };
}

const json = async (...args: string[]) => JSON.parse((await predict('--json', ...args)).out);
describe('dawngrad predict', () => {
  it('tells probability, verdict and the chunks that weighed most', async () => {
    const p = known.get('To be, or not to be.')!;
    const { out, err } = await predict(at('plays/b.txt'), '--threshold', '0');
    expect(out).toContain(`${p.toFixed(4)}  class 1 (tragedy)  ${at('plays/b.txt')}  (`);
    expect(out).toMatch(/^ {2}effect [+−]\d\.\d{3}, weight 1\.000, tokens 0–\d+, characters 0–20$/m);
    expect(out).toMatch(/^ {4}To be, or not to be\.$/m);
    expect(err).toContain(`Model      ${run}: transformer of `);
    expect(err).toContain('class 1 from a probability of 0\n');
    expect((await predict(at('plays/b.txt'), '--threshold', '1')).out).toContain('not class 1 (tragedy)');
    expect((await predict(at('plays/b.txt'))).err).toContain('a probability of 0.500, chosen on validation');
  });

  it('says what is empty and what was not read', async () => {
    const { out } = await predict(at('empty.txt'), at('long.txt'), '--top', '9');
    expect(out).toContain('empty.txt  (EMPTY, so this says nothing)\n');
    expect(out).toMatch(/long\.txt {2}\(READ \d+ OF \d+ TOKENS, 4 of \d+ chunks\)\n/);
    expect(out.match(/^ {2}effect/gm)).toHaveLength(4);
    for (const line of out.split('\n').filter((line) => line.startsWith('    '))) {
      expect(line.length).toBeLessThanOrEqual(120);
    }
  });

  it('reads folders, tables and standard input, in order', async () => {
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(
      Readable.from([Buffer.from('Now is the winter\nof our discontent.')]) as never,
    );
    const documents = await json(at('plays'), at('rows.jsonl'), '-');
    vi.restoreAllMocks();
    expect(documents.map(({ id }: { id: string }) => id)).toEqual([
      at('plays/b.txt'),
      at('plays/deep/a.txt'),
      'r0',
      'r1',
      'r2',
      'standard input',
    ]);
    for (let i = 0; i < 5; i++) expect(documents[i].probability).toBeCloseTo(known.get(TEXTS[i])!, 5);
    expect(documents[5]).toEqual({ ...documents[1], id: 'standard input' });
    expect(documents[4]).toMatchObject({ empty: true, tokens: 0, truncated: false });
    expect(documents[0]).toMatchObject({ verdict: expect.any(Number), threshold: 0.5, top: [] });
    // Of single texts, the chunks too.
    expect((await json(at('long.txt')))[0]).toMatchObject({ truncated: true, top: { length: 3 } });
  });

  it('takes the column that it is told, or a usual one, without tags', async () => {
    const films = await json(at('films.parquet'));
    expect(films.map(({ id }: { id: string }) => id)).toEqual(['Alien_1979', 'Up_2009']);
    expect(films[0].probability).toBeCloseTo(known.get('In space')!, 5);
    expect(films[1].empty).toBe(true);
    const rows = await json(at('rows.csv'), '--text', 'words', '--id', 'title', '--top', '1');
    expect(rows.map(({ id }: { id: string }) => id)).toEqual(['X', 'row 2']);
    expect(rows[1].top[0].excerpt).toBe('other words');
    expect(await json(at('rows.csv'), '--text', 'words', '--limit', '1')).toHaveLength(1);
  });

  it('writes JSON lines, all or nothing', async () => {
    const file = at('predictions.jsonl');
    const { out } = await predict(at('rows.jsonl'), at('plays'), '--jsonl', file, '--threshold', '0');
    expect(out).toBe(`5 documents, 5 of class 1, in ${file}; 1 empty\n`);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line).id).slice(0, 2)).toEqual(['r0', 'r1']);
    expect(lines).toHaveLength(5);
    writeFileSync(at('broken.jsonl'), '{"body":"fine"}\n{"body":7}\n');
    await expect(predict(at('broken.jsonl'), '--jsonl', file)).rejects.toThrow(
      `predict: expected text in body of row 2 of ${at('broken.jsonl')}, got 7`,
    );
    expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toEqual(lines);
    expect(readdirSync(folder).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    await expect(predict(at('rows.jsonl'), '--jsonl', at('nowhere/x.jsonl'))).rejects.toThrow(
      `predict: cannot write ${at('nowhere/x.jsonl')}: ENOENT`,
    );
  });

  it('says what is wrong', async () => {
    await expect(predict(at('none.txt'))).rejects.toThrow(`predict: cannot read ${at('none.txt')}: ENOENT`);
    await expect(predict(at('rows.csv'))).rejects.toThrow(
      `predict: expected a column of text, one of body, script_clean, script_plain, script, summary, text, in ${at('rows.csv')}, got title, words; name it with --text`,
    );
    await expect(predict(at('rows.csv'), '--text', 'body')).rejects.toThrow(
      `predict: expected a column body (--text) in ${at('rows.csv')}, got title, words`,
    );
    await expect(predict('-', '-')).rejects.toThrow('expected - (standard input) once');
    await expect(predict(at('long.txt'), '--json', '--jsonl', 'x')).rejects.toThrow('got both');
    await expect(predict(at('long.txt'), '--threshold', '2')).rejects.toThrow(
      'expected a number from 0 to 1',
    );
    mkdirSync(at('bare'));
    await expect(predict(at('bare'))).rejects.toThrow(
      `predict: expected .txt files in ${at('bare')}, got none`,
    );
    writeFileSync(at('latin.txt'), Buffer.from([0x41, 0xe9, 0x42]));
    await expect(predict(at('latin.txt'))).rejects.toThrow('expected UTF-8 text');
    await expect(predict(at('long.txt'), '--model', at('nowhere'))).rejects.toThrow('no such folder');
    mkdirSync(at('other-run'));
    writeFileSync(at('other-run/config.json'), '{"blockSize":64}');
    await expect(predict(at('long.txt'), '--model', at('other-run'))).rejects.toThrow(
      `expected the run of a classifier, got ${at('other-run')}, which another command made`,
    );
  });
});

describe('wrapText', () => {
  it('breaks between words, and in those that are too long', () => {
    expect(wrapText('to be or not to be', 10)).toEqual(['to be or', 'not to be']);
    expect(wrapText(`to ${'x'.repeat(23)} be`, 10)).toEqual(['to', 'x'.repeat(10), 'x'.repeat(10), 'xxx be']);
    expect(wrapText('', 10)).toEqual([]);
    expect(wrapText('🌧'.repeat(12), 10).join('')).toBe('🌧'.repeat(12));
  });
});
