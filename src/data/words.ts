/** Words of English text, for counting. */

/** A letter and what follows it: more letters, marks on them, and a part after an apostrophe. */
const WORD = /\p{L}[\p{L}\p{M}]*(?:['’]\p{L}+)?/gu;

/** The words of a text in lower case and in order; `don’t` is spelt `don't`. */
export function* words(text: string): Generator<string> {
  for (const [word] of text.toLowerCase().matchAll(WORD)) yield word.replace('’', "'");
}

/** How often each word occurs. */
export function countWords(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** English words that are frequent in any text. */
export const FUNCTION_WORDS: ReadonlySet<string> = new Set(
  (
    "a about after again all also am an and any are aren't as at be because been before being but by can can't could did " +
    "didn't do does doesn't doing don't each either else even every for from get go got had has hasn't have haven't having he " +
    "he's her here hers herself him himself his how i i'd i'll i'm i've if in into is isn't it it's its itself just let like " +
    'may maybe me might more most much must my myself no nor not now of off on once one only or other our ourselves out over ' +
    "own really said same say see she she's should shouldn't so some someone something such than that that's the their them " +
    "themselves then there there's these they they're things this those though through to too two under until up upon us use " +
    "very was wasn't way we well were what what's when where whether which while who whom why will with within without won't " +
    "would wouldn't yes yet you you'll you're you've your yours yourself"
  ).split(' '),
);
