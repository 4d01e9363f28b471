import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPosts, parsePosts, renumber } from '../../src/data/qa-posts.js';

describe('renumber', () => {
  it('numbers posts anew and leaves lists within them alone', () => {
    const text = '3. First:\n1. a\n2. b\n\n3) Second\n\nstill second\n\n17. Third. 1. not this\n';
    expect(renumber(text)).toEqual({
      text: '1. First:\n1. a\n2. b\n\n2) Second\n\nstill second\n\n3. Third. 1. not this\n',
      count: 3,
      changed: 3,
    });
    expect(renumber(text, { start: 10 }).text).toContain('\n\n12. Third');
  });

  it('numbers labels anew, answers like their questions', () => {
    const text =
      'QUESTION 2: a\n\nANSWER 2: b\n\nQuestion #2: c\nAnswer #2: d\nAnswer #2: e\n\n9. QUESTION: f\n\nANSWER: g\n1. list\n\n1. list';
    expect(renumber(text).text).toBe(
      'QUESTION 1: a\n\nANSWER 1: b\n\nQuestion #2: c\nAnswer #2: d\nAnswer #2: e\n\n3. QUESTION: f\n\nANSWER: g\n1. list\n\n1. list',
    );
  });

  it('leaves text without numbers as it is', () => {
    for (const text of ['', 'a\n\nb\n', 'QUESTION: a\n\nANSWER: b\n', 'It took\n\n3. no\n'])
      expect(renumber(text)).toMatchObject({ text, changed: 0 });
  });

  it('changes nothing the second time', () => {
    const line = fc.oneof(
      fc.constantFrom(
        '',
        '',
        '1. a',
        '7) b',
        '23.',
        'QUESTION 5: c',
        'ANSWER 9: d',
        '4. Question 3 : e',
        '1.5 f',
      ),
      fc.string({ maxLength: 10 }),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 15 }), fc.nat({ max: 1000 }), (lines, start) => {
        const once = renumber(lines.join('\n'), { start });
        expect(renumber(once.text, { start })).toEqual({ ...once, changed: 0 });
      }),
      { numRuns: 300 },
    );
  });
});

describe('parsePosts', () => {
  it('reads numbered posts, or paragraphs', () => {
    expect(parsePosts('\n4. a\n\nmore\n\n9. b')).toEqual([
      { line: 2, text: 'a\n\nmore' },
      { line: 6, text: 'b' },
    ]);
    expect(parsePosts('a\nb\n\n\nc')).toEqual([
      { line: 1, text: 'a\nb' },
      { line: 5, text: 'c' },
    ]);
    expect(parsePosts('')).toEqual([]);
  });

  it('reads back what formatPosts wrote', () => {
    const paragraph = fc.stringMatching(/^[a-z][a-z .]{0,20}[a-z]$/);
    const post = fc.array(paragraph, { minLength: 1, maxLength: 3 }).map((p) => ({ text: p.join('\n\n') }));
    fc.assert(
      fc.property(fc.array(post, { maxLength: 6 }), (posts) => {
        expect(parsePosts(formatPosts(posts)).map(({ text }) => ({ text }))).toEqual(posts);
      }),
    );
  });
});
