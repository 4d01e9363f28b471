import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatAllQA,
  formatPrompt,
  formatQA,
  parseQA,
  type QAPair,
  scanQA,
  tokenizeTexts,
  tokenizeQA,
} from '../../src/data/qa.js';
import { groupByQuestion, hashSplit, questionKey, splitQA } from '../../src/data/qa-split.js';
import { CharVocabulary } from '../../src/data/vocabulary.js';
import { DataError } from '../../src/device/errors.js';

/** Texts with everything that could be mistaken for a label, an escape or a line end. */
const line = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom(
    '',
    'QUESTION: x',
    'answer:',
    '\\QUESTION 3: y',
    '  \\\\Answer #2 : z',
    '4. question: w',
    'A plain line.',
  ),
);
const text = fc
  .array(line, { minLength: 1, maxLength: 5 })
  .map((lines) => lines.join('\n').replace(/\r/g, '').trim())
  .filter((t) => t !== '' && !t.startsWith('\uFEFF'));
const pair = fc.record<QAPair>({ question: text, answer: text });

/** A tokenizer of words, with 0 as end-of-text. */
const words = {
  endOfText: 0,
  encode: (s: string) => Int32Array.from(s.match(/\s*\S+/g) ?? [], (w) => w.trim().length),
};

describe('parseQA', () => {
  it('reads labels in any case, numbers, several lines, blank lines and Windows line ends', () => {
    const messy =
      '\uFEFF\r\nQUESTION: One?\r\nMore of it.\r\n\r\nANSWER: Yes.\r\n\r\nA second paragraph.\r\n\r\n' +
      '2. Question: Two?\nanswer: No.\n\n  question 3 :\nThree?\n\nAnswer #3:\nPerhaps.\rSurely.\n';
    expect(parseQA(messy)).toEqual([
      { question: 'One?\nMore of it.', answer: 'Yes.\n\nA second paragraph.' },
      { question: 'Two?', answer: 'No.' },
      { question: 'Three?', answer: 'Perhaps.\nSurely.' },
    ]);
  });

  it('gives every answer of a question a pair of its own', () => {
    expect(parseQA('QUESTION: a\nANSWER: b\nANSWER: c\n')).toEqual([
      { question: 'a', answer: 'b' },
      { question: 'a', answer: 'c' },
    ]);
  });

  it('leaves words alone that only look like labels', () => {
    const [only] = parseQA('QUESTION: a\nThe question: why?\n\nANSWER: b\nAnswers: none\nMy answer: no');
    expect(only.question).toBe('a\nThe question: why?');
    expect(only.answer).toBe('b\nAnswers: none\nMy answer: no');
  });

  it('reports a missing answer with its number and line', () => {
    const text = 'QUESTION: a\n\nANSWER: b\n\nQUESTION: c\n\nQUESTION: d\n\nANSWER: e\n\nQUESTION: f';
    expect(() => parseQA(text, { source: 'posts.txt' })).toThrow(
      new DataError(
        'parseQA: expected an answer after question 2, got none ("c"), line 5 of posts.txt; 2 such places in all',
      ),
    );
    const { pairs, problems } = scanQA(text);
    expect(pairs.map((p) => [p.number, p.line])).toEqual([
      [1, 1],
      [3, 7],
    ]);
    expect(problems.map((p) => [p.number, p.line])).toEqual([
      [2, 5],
      [4, 11],
    ]);
  });

  it('reports stray text, answers without a question, and empty ones', () => {
    const messages = (s: string) => scanQA(s).problems.map((p) => `${p.line}: ${p.message}`);
    expect(messages('\nHello\nQUESTION: a\nANSWER: b')).toEqual([
      '2: expected "QUESTION:" first, got "Hello"',
    ]);
    expect(messages('ANSWER: b')).toEqual(['1: expected "QUESTION:" before the first "ANSWER:", got "b"']);
    expect(messages('QUESTION:\nANSWER: b')).toEqual(['1: expected text in question 1, got none']);
    expect(messages('QUESTION: a\nANSWER:\n')).toEqual([
      '2: expected text in the answer to question 1, got none',
    ]);
    expect(messages('')).toEqual([]);
  });

  it('reads back what formatQA wrote', () => {
    fc.assert(
      fc.property(pair, (p) => {
        expect(parseQA(formatQA(p))).toEqual([p]);
      }),
    );
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 5 }), (pairs) => {
        expect(parseQA(formatAllQA(pairs))).toEqual(pairs);
      }),
    );
  });
});

describe('formatQA', () => {
  it('is labels with a blank line between', () => {
    expect(formatQA({ question: ' Why?\r\n', answer: 'So.' })).toBe('QUESTION: Why?\n\nANSWER: So.');
    expect(formatPrompt('Why?')).toBe('QUESTION: Why?\n\nANSWER:');
  });

  it('refuses empty texts', () => {
    expect(() => formatQA({ question: 'Why?', answer: ' ' })).toThrow(
      new DataError('formatQA: expected an answer to "Why?", got an empty one'),
    );
    expect(() => formatPrompt('\n')).toThrow(
      new DataError('formatPrompt: expected a question, got an empty text'),
    );
  });
});

describe('tokenizeQA', () => {
  const pairs = [
    { question: 'a bb', answer: 'ccc dddd' },
    { question: 'e', answer: 'ff' },
  ];
  // "QUESTION:" has 9 characters, "ANSWER:" 7.
  const ids = [9, 1, 2, 7, 3, 4, 0, 9, 1, 7, 2, 0];

  it('ends every answer with end-of-text', () => {
    const { ids: got, mask, characters } = tokenizeQA(pairs, words);
    expect([...got]).toEqual(ids);
    expect([...mask]).toEqual(ids.map(() => 1));
    expect(characters).toBe(pairs.reduce((sum, p) => sum + formatQA(p).length, 0));
  });

  it('counts answers and their ends only, if asked', () => {
    const { ids: got, mask, characters } = tokenizeQA(pairs, words, { answersOnly: true });
    expect([...got]).toEqual(ids);
    expect([...mask]).toEqual([0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]);
    expect(characters).toBe(' ccc dddd'.length + ' ff'.length);
  });

  it('needs an end-of-text token', () => {
    const vocabulary = CharVocabulary.fromText('QUESTION: ANSWER\nab');
    const encode = (s: string) => vocabulary.encode(s);
    expect(() => tokenizeQA([{ question: 'a', answer: 'b' }], { encode, endOfText: null })).toThrow(
      new DataError(
        'tokenizeQA: expected a tokenizer with an end-of-text token, got one without; use new GPT2Tokenizer({ size })',
      ),
    );
  });

  it('joins plain documents by end-of-text', () => {
    const { ids: got, mask } = tokenizeTexts(['a bb', 'ccc'], words);
    expect([...got]).toEqual([1, 2, 0, 3, 0]);
    expect([...mask]).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('splitQA', () => {
  it('never puts one question in two parts, and loses no pair', () => {
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 40 }), fc.integer(), (pairs, seed) => {
        const options = { validation: 0.3, test: 0.3, seed };
        const twice = [...pairs, ...pairs.map((p) => ({ ...p, question: ` ${p.question.toUpperCase()}` }))];
        const split = splitQA(twice, options);
        expect(split.train.length + split.validation.length + split.test.length).toBe(twice.length);
        const keys = [split.train, split.validation, split.test].map(
          (part) => new Set(part.map((p) => questionKey(p.question))),
        );
        for (const key of keys[0]) expect(keys[1].has(key) || keys[2].has(key)).toBe(false);
        for (const key of keys[1]) expect(keys[2].has(key)).toBe(false);
      }),
    );
  });

  it('keeps the shares on average, and differs by seed', () => {
    const questions = Array.from({ length: 4000 }, (_, i) => `Question number ${i}?`);
    const parts = questions.map((q) => hashSplit(q, { validation: 0.2, test: 0.1 }));
    expect(parts.filter((p) => p === 'validation').length / 4000).toBeCloseTo(0.2, 1);
    expect(parts.filter((p) => p === 'test').length / 4000).toBeCloseTo(0.1, 1);
    const others = questions.map((q) => hashSplit(q, { validation: 0.2, test: 0.1, seed: 1 }));
    expect(
      others.filter((p, i) => p === 'validation' && parts[i] === 'validation').length / 4000,
    ).toBeCloseTo(0.04, 1);
  });

  it('refuses impossible shares', () => {
    expect(() => hashSplit('a', { validation: 0.9, test: 0.2 })).toThrow(
      new DataError(
        'hashSplit: expected shares of at least 0 that sum to at most 1, got validation 0.9 and test 0.2',
      ),
    );
  });
});

describe('groupByQuestion', () => {
  it('joins the answers of one question, however it is spelt', () => {
    const pairs = [
      { question: 'Why me?', answer: '1' },
      { question: 'Why you?', answer: '2' },
      { question: 'why  ME', answer: '3' },
    ];
    expect([...groupByQuestion(pairs).values()].map((g) => g.map((p) => p.answer))).toEqual([
      ['1', '3'],
      ['2'],
    ]);
  });
});
