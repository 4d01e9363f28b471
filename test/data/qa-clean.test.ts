import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanText, decodeEntities } from '../../src/data/qa-clean.js';

const clean = (text: string) => cleanText(text).text;
const fixture = (name: string) =>
  readFileSync(new URL(`../fixtures/advice/${name}`, import.meta.url), 'utf8');

/** Lines that nobody said. */
const JUNK = `12:34
[12:34]
12:34 PM
(9:05 a.m.)
2021-03-04T12:34:56Z
2021-03-04 12:34:56 +0200
03/04/2021, 12:34
4.3.2021
March 4, 2021 at 12:34 PM
Sunday, March 4, 2021
4 Mar 2021
Mar 4
3 hours ago
about an hour ago
a day ago
just now
2d
12w
5mo
Yesterday at 5:14 PM
Tuesday 17:20
Posted on March 4th, 2021
Edited 3 hours ago
last edited on 2021-03-04
00:00:01,000 --> 00:00:04,000
12 Likes
1 Like
1.2K likes
Like
Reply
REPLY
Share
7 points
Like · Reply · 3d
Like Reply 12w
3 days ago · 12 Likes · Reply
Reply Edit Delete
Report | Reply
View 3 more replies
View all 12 comments
Show more
See translation
Write a comment…
Press Enter
press enter to post your comment.
Log in to reply
Liked by anna and 3 others
@anna_k
u/throwaway123
Posted by u/throwaway123 · 5h
sunny_girl92
sunny_girl92 wrote:
Jane Doe · 3h
On March 4, 2021 at 12:34 PM, Jane Doe wrote:`.split('\n');

/** Lines that hold the same words and are somebody's. */
const SENTENCES = `Reply to her, but not today.
Reply.
I have 12 likes on my photo and she still is angry.
I like it
like him
Share your feelings
He said: share.
Press Enter and wait.
Then I had to press enter to post it, and everybody saw.
No comment.
Follow your heart
Report
Save
We met at 12:34 and left.
12:30 is when we eat.
3 years ago we split up.
(3 years ago) we split up.
The reply came 3 hours ago.
She will call on March 4, 2021.
Mar 4 was the day
May I ask you something?
May
2021 was hard.
Yesterday
5 pm
5
COVID-19
Covid19
My mother said:
Mom wrote:
Jane Doe
@anna please help me
1. Listen
2. Reply to him
a/b
What does & mean?
Views on marriage differ.
Points to remember:`.split('\n');

describe('cleanText', () => {
  it.each(JUNK)('removes %s', (line) => {
    expect(clean(line)).toBe('');
    expect(clean(`Before.\n${line}\nAfter.`)).toBe('Before.\nAfter.\n');
  });

  it.each(SENTENCES)('keeps %s', (line) => {
    expect(clean(line)).toBe(`${line}\n`);
    expect(clean(`Before.\n${line}\nAfter.`)).toBe(`Before.\n${line}\nAfter.\n`);
  });

  it('takes time stamps off the start of lines', () => {
    expect(
      clean('[12:34] Anna: hi\n3/4/21, 12:34 PM - Bob: ho\n00:01:15 So then\n[2021-03-04 12:34:56] - yes'),
    ).toBe('Anna: hi\nBob: ho\nSo then\nyes\n');
  });

  it('takes a name for a user name only above a time stamp', () => {
    expect(clean('Nadia\n2 days ago\nNo.')).toBe('No.\n');
    expect(clean('Nadia\n\nNo.')).toBe('Nadia\n\nNo.\n');
    // What is above may also be the end of the post before.
    expect(clean('Thank You\n2 days ago\nNo.')).toBe('Thank You\nNo.\n');
    expect(clean('Nadia\n2 days ago · Reply\nNo.')).toBe('Nadia\nNo.\n');
    expect(clean('marek77\n2d\nNo.\nmarek77\nYes.')).toBe('No.\nmarek77\nYes.\n');
  });

  it('takes a word for a button only beside buttons, where it could be an answer', () => {
    expect(clean('What now?\nReport')).toBe('What now?\nReport\n');
    expect(clean('What now?\nReply\nReport')).toBe('What now?\n');
  });

  it('decodes entities, also twice encoded ones, and then sees what they hid', () => {
    expect(clean('Tom &amp;amp; Mia&nbsp;said &quot;no&quot; &#8212; &#x2019;no&#x2019;')).toBe(
      'Tom & Mia said "no" — ’no’\n',
    );
    expect(clean('Yes.\n12&nbsp;Likes')).toBe('Yes.\n');
    expect(clean('one&#10;two')).toBe('one\ntwo\n');
    // Neither characters nor known names.
    expect(decodeEntities('&#0; &#55296; &#1114112; &unknown; AT&T; & more')).toBe(
      '&#0; &#55296; &#1114112; &unknown; AT&T; & more',
    );
  });

  it('leaves one blank line, no odd spaces, one line end', () => {
    expect(clean('\uFEFF\r\n\r\na \t\r\n\r\n \r\n\r\nb\u00A0c\u200B\r\n\r\n')).toBe('a\n\nb c\n');
    expect(clean(' \n\n')).toBe('');
  });

  it('keeps what it is told to keep', () => {
    const text = '@anna_k\n12 Likes\n3 hours ago\na &amp; b\n';
    expect(cleanText(text, { keep: ['times', 'entities'] }).text).toBe('3 hours ago\na &amp; b\n');
    expect(cleanText(text, { keep: ['times', 'entities', 'names', 'buttons'] }).text).toBe(text);
  });

  it('reports what it removed, by line', () => {
    expect(cleanText('a\n12 Likes\n[9:30] b\n@anna_k').removed).toEqual([
      { line: 2, kind: 'buttons', text: '12 Likes' },
      { line: 3, kind: 'times', text: '[9:30]' },
      { line: 4, kind: 'names', text: '@anna_k' },
    ]);
  });

  it('changes nothing the second time', () => {
    const part = fc.oneof(
      fc.constantFrom(
        ...JUNK,
        ...SENTENCES,
        '',
        ' ',
        '[12:34] ',
        '&amp;',
        '&amp;amp;lt;',
        '&#10;',
        '00:01:02 ',
        'Nadia',
      ),
      fc.string({ maxLength: 12 }),
      fc.string({ unit: 'grapheme', maxLength: 8 }),
    );
    const text = fc
      .array(fc.tuple(part, fc.constantFrom('\n', '\r\n', '\n\n', ' ', '')), { maxLength: 12 })
      .map((parts) => parts.flat().join(''));
    fc.assert(
      fc.property(text, (t) => {
        const once = clean(t);
        expect(cleanText(once)).toEqual({ text: once, removed: [] });
      }),
      { numRuns: 500 },
    );
  });

  it('cleans a forum page', () => {
    expect(clean(fixture('messy-forum.txt'))).toBe(`My sister borrows my clothes & never gives them back.
How do I tell her to stop without a fight?

Tell her which clothes are off limits, and lend her the others gladly.

Reply to her with a joke the first time. If she laughs, you have won; if not,
the joke has at least 12 likes from me.

marek77: Put a lock on it.

Is it rude to leave a party after an hour?

No. Thank the host, say that you are tired, and go. Press Enter on the lift and do not look back.
`);
  });
});
