/** Riddles for readers of long documents: sentences of a real novel, and among them one or two that decide the label. */
import { data, DataError } from '../../src/index.js';
import { readNovel } from '../../src/node.js';

/**
 * Where the answer is:
 * - `one`: in one sentence, `The keeper forgave the stranger.` (1) or `The keeper cursed the stranger.` (0);
 * - `both`: in two sentences far apart. Both kinds together are 1; one kind twice is 0;
 * - `order`: in two sentences far apart, which every document has. The lantern before the bell is 1.
 */
export const RIDDLES = ['one', 'both', 'order'] as const;
export type Riddle = (typeof RIDDLES)[number];

const KEEPER = ['The keeper cursed the stranger.', 'The keeper forgave the stranger.'] as const;
/** Sentences at the end where nothing is planted. */
const TAIL = 2;
const LANTERN = 'A lantern was lit in the northern tower.';
const BELL = 'Somebody rang the bell of the empty chapel.';

export interface PlantedOptions {
  readonly riddle: Riddle;
  readonly documents: number;
  /** Fewest and most sentences of a document. */
  readonly sentences?: readonly [least: number, most: number];
  /** Sentences at the start where nothing is planted. Nor is it in the last two: the last chunk is shorter, and shows. */
  readonly head?: number;
  readonly seed?: number;
}

export interface PlantedDocument {
  readonly id: string;
  readonly group: string;
  readonly split: 'train' | 'validation' | 'test';
  readonly label: 0 | 1;
  readonly text: string;
  /** Numbers of the sentences that decide. */
  readonly planted: readonly number[];
}

/** Sentences of 40 to 200 characters, none of them with a word of the planted ones. */
export function novelSentences(text = readNovel().text): string[] {
  return (text.replace(/\s+/g, ' ').match(/[^.!?]+[.!?]+/g) ?? [])
    .map((s) => s.trim())
    .filter((s) => s.length >= 40 && s.length <= 200 && /^[A-Z]/.test(s))
    .filter((s) => !/keeper|forg[ai]v|curse|stranger|lantern|bell|chapel/i.test(s));
}

/**
 * Documents with their labels, half of them 1. Eight in ten are for training, one for validation, one for test, and each of these
 * has sentences from another part of the novel.
 */
export function plantedDocuments(
  { riddle, documents, sentences: [least, most] = [14, 24], head = 4, seed = 1 }: PlantedOptions,
  pool: readonly string[] = novelSentences(),
): PlantedDocument[] {
  if (!(head >= 1 && least >= head + TAIL + 6 && most >= least)) {
    throw new DataError(`planted: expected at least ${head + TAIL + 6} sentences, got ${least} to ${most}`);
  }
  const random = new data.HostRandom(seed);
  const parts = { train: [0, 0.8], validation: [0.8, 0.9], test: [0.9, 1] } as const;
  const from = (share: number) => Math.round(share * pool.length);
  return Array.from({ length: documents }, (_, i): PlantedDocument => {
    const split = i % 10 === 8 ? 'validation' : i % 10 === 9 ? 'test' : 'train';
    const [start, end] = parts[split].map(from);
    // Pairs, so that every split has as many of either.
    const label = (Math.floor(i / 10) % 2) as 0 | 1;
    const length = least + random.integer(most - least + 1);
    const text = Array.from({ length }, () => pool[start + random.integer(end - start)]);
    const room = length - head - TAIL;
    // Two places at least a third of the room apart.
    const gap = Math.ceil(room / 3);
    const first = head + random.integer(room - gap);
    const second = first + gap + random.integer(head + room - first - gap);
    const planted = riddle === 'one' ? [head + random.integer(room)] : [first, second];
    const turned = random.integer(2);
    const words = {
      one: () => [KEEPER[label]],
      both: () => {
        const [a, b] = turned ? [LANTERN, BELL] : [BELL, LANTERN];
        return label ? [a, b] : [a, a];
      },
      order: () => (label ? [LANTERN, BELL] : [BELL, LANTERN]),
    }[riddle]();
    planted.forEach((at, k) => {
      text[at] = words[k];
    });
    return {
      id: `${riddle}-${i + 1}`,
      group: `${riddle}-${i + 1}`,
      split,
      label,
      text: text.join(' '),
      planted,
    };
  });
}
