import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAllQA } from '../../src/data/qa.js';
import { cleanText } from '../../src/data/qa-clean.js';
import { LABEL_STYLES, labelQA } from '../../src/data/qa-label.js';
import { DataError } from '../../src/device/errors.js';

const fixture = (name: string) =>
  cleanText(readFileSync(new URL(`../fixtures/advice/${name}`, import.meta.url), 'utf8')).text;

describe('labelQA', () => {
  it('reads Q: and A:', () => {
    const { pairs, style } = labelQA('Q: Why?\nReally why?\nA: So.\n\nBut also so.\nq: Who?\na: Me.');
    expect(style).toBe('short');
    expect(pairs).toEqual([
      { question: 'Why?\nReally why?', answer: 'So.\n\nBut also so.' },
      { question: 'Who?', answer: 'Me.' },
    ]);
  });

  it('reads a pair per line', () => {
    const { pairs, style } = labelQA('Why?\tSo.\n\nWho?\tMe.\n');
    expect(style).toBe('tabs');
    expect(pairs).toEqual([
      { question: 'Why?', answer: 'So.' },
      { question: 'Who?', answer: 'Me.' },
    ]);
  });

  it('reads paragraphs that ask and answer', () => {
    const { pairs, style } = labelQA('Why is that?\n\nFor a reason.\n\nOr for none.\n\nWho?\n\nMe.');
    expect(style).toBe('questions');
    expect(pairs).toEqual([
      { question: 'Why is that?', answer: 'For a reason.\n\nOr for none.' },
      { question: 'Who?', answer: 'Me.' },
    ]);
    expect(labelQA('Tell me.\n\nNo.\n\nPlease.\n\nNo!', { style: 'alternating' }).pairs).toEqual([
      { question: 'Tell me.', answer: 'No.' },
      { question: 'Please.', answer: 'No!' },
    ]);
  });

  it('reads a chat, the answers of each person apart', () => {
    const { pairs, style } = labelQA(fixture('messy-chat.txt'));
    expect(style).toBe('transcript');
    const question = "Hi, is anybody there?\nI forgot my brother's birthday. What now?";
    expect(pairs).toEqual([
      {
        question,
        answer:
          'Call him today.\nLate wishes are better than none, and "I forgot" is better than a story.\n\nOne more thing: do not promise what you will not keep.',
      },
      { question, answer: 'Bake something: nobody is angry at a cake.' },
      {
        question: 'And if he does not answer?',
        answer: 'Then write. 3 hours ago would have been better, but now will do.',
      },
    ]);
  });

  it('takes who asks from the option', () => {
    const chat = 'Bot: Hello.\nAnna: Why?\nBot: So.';
    expect(labelQA(chat, { asker: 'anna' }).pairs).toEqual([{ question: 'Why?', answer: 'So.' }]);
    expect(labelQA(chat, { asker: 'anna' }).problems).toEqual([
      { number: 0, line: 1, message: 'expected a question first, got "Hello."' },
    ]);
    expect(() => labelQA(chat, { style: 'transcript', asker: 'Tom' })).toThrow(
      new DataError('labelQA: expected lines that begin with "Tom:", got none; these speak: bot, anna'),
    );
  });

  it('reports questions without an answer', () => {
    expect(labelQA('Why?\n\nSo.\n\nWho?').problems).toEqual([
      { number: 2, line: 5, message: 'expected an answer after question 2, got none ("Who?")' },
    ]);
  });

  it('refuses what it cannot tell', () => {
    expect(() => labelQA('A text.\n\nAnother.')).toThrow(
      new DataError(
        'labelQA: expected labels, Q: and A:, tabs, speakers or a first paragraph that ends with a question mark, got "A text."; say what it is with the style',
      ),
    );
  });

  it('changes nothing the second time, whatever the text and the style', () => {
    const line = fc.oneof(
      fc.string({ maxLength: 15 }),
      fc.string({ unit: 'grapheme', maxLength: 10 }),
      fc.constantFrom(
        '',
        '',
        'Q: a',
        'A: b',
        'Anna: c?',
        'Tom: d',
        'x\ty',
        'Why?',
        'So.',
        'QUESTION: e',
        'ANSWER: f',
        '\\ANSWER: g',
        '1. Question: h',
      ),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.constantFrom(...LABEL_STYLES), (lines, style) => {
        const label = (text: string): string => formatAllQA(labelQA(text, { style }).pairs);
        let once: string;
        try {
          once = label(lines.join('\n'));
        } catch (e) {
          // The style that cannot be told.
          expect(e).toBeInstanceOf(DataError);
          return;
        }
        expect(label(once)).toBe(once);
        expect(labelQA(once, { style }).problems).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });
});
