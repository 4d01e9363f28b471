import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeText, readQA } from '../../src/data/qa-file.js';
import { formatDocument, parseDocument, parseQARecords, splitRecords } from '../../src/data/qa-records.js';
import { questionKey } from '../../src/data/qa-split.js';
import { statsQA } from '../../src/data/qa-stats.js';
import { DataError } from '../../src/device/errors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-qa-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const row = (question: string, answer: string, more: object = {}) =>
  JSON.stringify({ question, answer, ...more });

describe('parseQARecords', () => {
  it('reads JSON lines with their fields and splits', () => {
    const text = `\uFEFF${row('a', ' b\r\n', { id: 7, split: 'val' })}\r\n\r\n${row('c', 'd', { split: 'Test' })}\n`;
    expect(parseQARecords(text, 'x.jsonl')).toEqual([
      { question: 'a', answer: 'b', line: 1, split: 'validation', fields: { id: 7 } },
      { question: 'c', answer: 'd', line: 3, split: 'test', fields: {} },
    ]);
    // Known by its first character where the name says nothing.
    expect(parseQARecords(row('a', 'b'), 'standard input').length).toBe(1);
  });

  it.each([
    ['{"question": "a"', 'a JSON object, got "{"question": "a""'.replaceAll('""', '"')],
    ['[1]', 'a JSON object, got "[1]"'],
    [row('a', ' '), 'text in "answer", got " "'],
    ['{"answer": "b"}', 'text in "question", got none'],
    [row('a', 'b', { split: 'tset' }), '"split" to be train, validation or test, got "tset"'],
  ])('names file and line of %s', (line, message) => {
    let error: unknown;
    try {
      parseQARecords(`${row('a', 'b')}\n${line}\n`, 'x.jsonl');
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(DataError);
    const expected = line.startsWith('{"question": "a"')
      ? `readQA: expected a JSON object, got ${JSON.stringify(line)}, line 2 of x.jsonl`
      : `readQA: expected ${message}, line 2 of x.jsonl`;
    expect((error as Error).message).toBe(expected);
  });

  it('names file and line of labelled text', () => {
    expect(() => parseQARecords('QUESTION: a\n\nQUESTION: b\n\nANSWER: c', 'x.txt')).toThrow(
      new DataError('readQA: expected an answer after question 1, got none ("a"), line 1 of x.txt'),
    );
  });
});

describe('splitRecords', () => {
  it('keeps the splits of the file, and refuses questions in two of them', () => {
    const records = (...rows: string[]) => parseQARecords(rows.join('\n'), 'x.jsonl');
    const good = records(row('a', '1', { split: 'train' }), row('b', '2', { split: 'test' }));
    expect(splitRecords(good, 'x.jsonl')).toEqual({
      train: [{ question: 'a', answer: '1' }],
      validation: [],
      test: [{ question: 'b', answer: '2' }],
    });
    expect(() =>
      splitRecords(
        records(row('Why?', '1', { split: 'train' }), row('why', '2', { split: 'test' })),
        'x.jsonl',
      ),
    ).toThrow(
      new DataError(
        'readQA: expected all answers to a question in one split, got train in line 1 and test in line 2 of x.jsonl for "why"; split anew with: dawngrad qa split',
      ),
    );
    expect(() => splitRecords(records(row('a', '1', { split: 'train' }), row('b', '2')), 'x.jsonl')).toThrow(
      new DataError(
        'readQA: expected a split on every line or on none, got a line without, line 2 of x.jsonl',
      ),
    );
  });
});

describe('documents', () => {
  it.each([
    'QUESTION: a\n\nANSWER: b\n\nQUESTION: c\n\nANSWER: d\n',
    'QUESTION 1: a\n\nANSWER: b\n\nQUESTION 2: c\n\nANSWER: d\n',
    'QUESTION 1: a\n\nANSWER 1: b\n\nQUESTION 2: c\n\nANSWER 2: d\n',
    '1. a\n\nb\n\n2. c\n',
    'a\nb\n\nc\n',
    `${row('a', 'b', { split: 'train' })}\n${row('c', 'd')}\n`,
    '',
  ])('are written as they were read: %j', (text) => {
    expect(formatDocument(parseDocument(text, 'x'))).toBe(text);
  });
});

describe('text before the first label', () => {
  it('is an error, not a post', () => {
    expect(() => parseDocument('A heading\n\nQUESTION: a\n\nANSWER: b\n', 'x.txt')).toThrow(
      new DataError('readQA: expected "QUESTION:" first, got "A heading", line 1 of x.txt'),
    );
    expect(parseDocument('My question: why?\n\nQuestion: this.\n', 'x.txt').kind).toBe('posts');
  });
});

describe('readQA', () => {
  it('reads files of both kinds', async () => {
    const path = join(folder, 'many.txt');
    const pairs = Array.from({ length: 60 }, (_, i) => `QUESTION: q${i}\n\nANSWER: a${i}\n`);
    await writeFile(path, pairs.join('\n'));
    const { train, validation, test } = await readQA(path);
    expect(train.length + validation.length + test.length).toBe(60);
    expect(train.length).toBeGreaterThan(validation.length + test.length);
    expect(await readQA(path)).toEqual({ train, validation, test });
    expect((await readQA(path, { seed: 1 })).validation).not.toEqual(validation);
  });

  it('refuses what it cannot read', async () => {
    const path = join(folder, 'empty.txt');
    await writeFile(path, '\n');
    await expect(readQA(path)).rejects.toThrow(
      new DataError(`readQA: expected questions and answers, got none in ${path}`),
    );
    await expect(readQA(join(folder, 'none.txt'))).rejects.toThrow(
      /^readText: cannot read .*none\.txt: ENOENT/,
    );
    expect(() => decodeText(Uint8Array.of(97, 10, 98, 10, 0xe4, 10), 'x.txt')).toThrow(
      new DataError(
        'readText: expected UTF-8 text, got other bytes in line 3 of x.txt; convert it, e.g. with iconv',
      ),
    );
  });

  const ADVICE = fileURLToPath(new URL('../../../shared/data/advice.jsonl', import.meta.url));
  it('reads the advice data', async ({ skip }) => {
    if (!existsSync(ADVICE)) skip('no ../shared/data/advice.jsonl on this machine');
    const { train, validation, test } = await readQA(ADVICE);
    expect([train.length, validation.length, test.length]).toEqual([677, 79, 49]);
    const keys = new Set(train.map((pair) => questionKey(pair.question)));
    expect([...validation, ...test].filter((pair) => keys.has(questionKey(pair.question)))).toEqual([]);
  });
});

describe('statsQA', () => {
  it('counts by hand', () => {
    const records = parseQARecords(
      [
        row('Why me, oh why?', 'Because the moon is far.', { split: 'train' }),
        row('why me oh why', 'Because the moon is far!', { split: 'train' }),
        row('Who?', 'The moon’s friends.', { split: 'test' }),
      ].join('\n'),
      'x.jsonl',
    );
    const stats = statsQA(records, (text) => text.split(' ').map(Number), { words: 2 });
    expect(stats).toMatchObject({
      pairs: 3,
      questions: 2,
      splits: { train: 2, test: 1 },
      duplicatePairs: { exact: 1, near: 0 },
      duplicateAnswers: { exact: 1, near: 0 },
      words: [
        ['far', 2],
        ['moon', 2],
      ],
    });
    expect(stats.answersPerQuestion.mean).toBe(1.5);
    expect(stats.answerTokens).toMatchObject({ min: 3, max: 5, total: 13 });
    expect(stats.questionCharacters.max).toBe('Why me, oh why?'.length);
  });
});
