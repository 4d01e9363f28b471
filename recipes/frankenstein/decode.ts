/** The same prompts continued in different ways, and what can be measured of that. */
import { data, models, noGrad, scope, type Tensor, tensor } from '../../src/index.js';
import { distinctN, repetitionRate } from '../../src/train/text-metrics.js';
import { trainNovel } from './novel.js';
import { count, fixed, markdown, oneLine, percent } from './report.js';
import { type Context, save } from './shared.js';

/** Ways to choose the next character. */
export const METHODS: readonly (readonly [name: string, options: models.GenerateOptions])[] = [
  ['greedy', { temperature: 0 }],
  ['temperature 0.5', { temperature: 0.5 }],
  ['temperature 0.8', { temperature: 0.8 }],
  ['temperature 1.0', { temperature: 1 }],
  ['temperature 1.2', { temperature: 1.2 }],
  ['top-k 5, temperature 0.8', { temperature: 0.8, topK: 5 }],
  ['beam search, 4 beams', { numBeams: 4 }],
];

/** A prompt from the held-out text, and how the author went on. */
export interface Passage {
  readonly prompt: Int32Array;
  readonly truth: Int32Array;
}

/** Passages spread evenly over a text, each from the beginning of a word on. */
export function passages(
  ids: Int32Array,
  space: number,
  { prompts, promptLength, continuation }: { prompts: number; promptLength: number; continuation: number },
): Passage[] {
  const room = ids.length - promptLength - continuation;
  return Array.from({ length: prompts }, (_, i) => {
    const at = Math.floor((i * room) / prompts);
    const blank = ids.subarray(at, at + Math.floor(room / prompts)).indexOf(space);
    const start = blank < 0 ? at : at + blank + 1;
    const end = start + promptLength;
    return { prompt: ids.slice(start, end), truth: ids.slice(end, end + continuation) };
  });
}

/** Share of places with the same character. */
export function characterAccuracy(
  written: readonly ArrayLike<number>[],
  truth: readonly ArrayLike<number>[],
): number {
  let hits = 0;
  let places = 0;
  truth.forEach((right, i) => {
    for (let t = 0; t < right.length; t++) hits += Number(written[i][t] === right[t]);
    places += right.length;
  });
  return hits / places;
}

/** What a way of writing looks like, beside whether it hits the author's characters. */
export interface TextFigures {
  readonly accuracy: number;
  /** Share of four-word sequences that came before in the same text. */
  readonly repetition: number;
  /** Different words, and pairs of words, over all. */
  readonly distinct1: number;
  readonly distinct2: number;
  /** Share of words that occur in the text that was learned. */
  readonly known: number;
}

export function measureTexts(
  written: readonly Int32Array[],
  truth: readonly Int32Array[],
  vocabulary: data.CharVocabulary,
  lexicon: ReadonlySet<string>,
): TextFigures {
  // The last word may be cut off.
  const words = written.map((ids) => data.tokenizeWords(vocabulary.decode(ids).toLowerCase()).slice(0, -1));
  const letters = words.flat().filter((word) => /\p{L}/u.test(word));
  return {
    accuracy: characterAccuracy(written, truth),
    repetition: repetitionRate(words, 4),
    distinct1: distinctN(words, 1),
    distinct2: distinctN(words, 2),
    known: letters.filter((word) => lexicon.has(word)).length / letters.length,
  };
}

export interface DecodeResult {
  readonly rows: readonly (TextFigures & { readonly name: string })[];
  /** Share of next characters of the held-out text that are the most probable ones, given the true ones before. */
  readonly taught: number;
  readonly samples: readonly { readonly name: string; readonly text: string }[];
}

/** Continues held-out prompts by every method, and measures texts that need no model as well. */
export async function decode(context: Context): Promise<DecodeResult> {
  const { config, log } = context;
  const { model, vocabulary, texts } = await trainNovel(context);
  const chosen = passages(texts.validation, vocabulary.encode(' ')[0], config);
  const truth = chosen.map((p) => p.truth);
  const lexicon = new Set(data.tokenizeWords(vocabulary.decode(texts.train).toLowerCase()));
  log('\nDECODE');
  const rows: (TextFigures & { name: string })[] = [];
  const samples: { name: string; text: string }[] = [];
  const add = (name: string, written: readonly Int32Array[]): void => {
    rows.push({ name, ...measureTexts(written, truth, vocabulary, lexicon) });
    samples.push({ name, text: vocabulary.decode(written[0]) });
  };
  for (const [name, options] of METHODS) {
    const written = await continuations(model, chosen, {
      ...options,
      maxNewTokens: config.continuation,
      seed: config.seed,
    });
    add(name, written);
  }
  // What needs no model: the measure must say something about these, too.
  add('the author', truth);
  add('the author, one character late', late(chosen));
  add('the author, elsewhere', [...truth.slice(1), truth[0]]);
  const spaces = new Int32Array(config.continuation).fill(vocabulary.encode(' ')[0]);
  const always = truth.map(() => spaces);
  rows.push({
    name: 'nothing but spaces',
    accuracy: characterAccuracy(always, truth),
    repetition: Number.NaN,
    distinct1: Number.NaN,
    distinct2: Number.NaN,
    known: Number.NaN,
  });
  const taught = await taughtAccuracy(model, texts.validation, config.window, context);
  const table = markdown(
    ['continuation', 'character accuracy', 'repetition (4 words)', 'distinct-1', 'distinct-2', 'known words'],
    rows.map((r) => [
      r.name,
      percent(r.accuracy),
      percent(r.repetition, 1),
      fixed(r.distinct1, 3),
      fixed(r.distinct2, 3),
      percent(r.known, 1),
    ]),
  );
  const prompt = vocabulary.decode(chosen[0].prompt);
  const shown = [
    `Prompt: ${oneLine(prompt)}`,
    '',
    markdown(
      ['continuation', 'text'],
      samples
        .filter(({ name }) => !name.startsWith('the author,'))
        .map(({ name, text }) => [name, oneLine(text)]),
    ),
  ].join('\n');
  const measured = `${count(chosen.length)} prompts of ${config.promptLength} held-out characters, each continued by ${config.continuation}. Given the true text before, the model ranks ${percent(taught)} of the next characters first.`;
  await save(context, 'decode.md', `${measured}\n\n${table}\n\n${shown}\n`);
  return { rows, taught, samples };
}

/** The true continuations moved by one: each place holds the character before. */
function late(chosen: readonly Passage[]): Int32Array[] {
  return chosen.map(({ prompt, truth }) =>
    Int32Array.from(truth, (_, t) => (t === 0 ? prompt[prompt.length - 1] : truth[t - 1])),
  );
}

/** All prompts at once; the state is carried from character to character. */
async function continuations(
  model: models.CharLSTM,
  chosen: readonly Passage[],
  options: models.GenerateOptions,
): Promise<Int32Array[]> {
  const written: number[][] = chosen.map(() => []);
  const prompts = chosen.map((p) => p.prompt);
  for await (const { prompt, token } of models.generate(model, prompts, options)) written[prompt].push(token);
  return written.map((ids) => Int32Array.from(ids));
}

/** Accuracy where the model reads the true text up to each character: a long text, the state carried on. */
async function taughtAccuracy(
  model: models.CharLSTM,
  ids: Int32Array,
  window: number,
  { device }: Pick<Context, 'device'>,
): Promise<number> {
  let hits = 0;
  let places = 0;
  await readOn(model, ids, window, device, (logits, targets) =>
    scope(() => logits.argmax({ dim: -1 }).reshape([-1]).eq(targets).to('float32').sum()),
  ).then((parts) => {
    for (const { value, count: n } of parts) {
      hits += value;
      places += n;
    }
  });
  return hits / places;
}

/** Characters read in one piece. */
const PIECE = 1200;

/**
 * Reads a text from beginning to end, in pieces with the state carried from one to the next, and measures each.
 * @param measure from logits [1, T, V] and targets [T] to a number
 */
export async function readOn(
  model: models.CharLSTM,
  ids: Int32Array,
  window: number,
  device: Context['device'],
  measure: (logits: Tensor, targets: Tensor) => Tensor,
): Promise<{ value: number; count: number }[]> {
  const parts: { value: number; count: number }[] = [];
  const size = Math.max(window, PIECE);
  let state: models.LSTMState | null = null;
  for (let at = 0; at + 1 < ids.length; at += size) {
    const T = Math.min(size, ids.length - 1 - at);
    const before: models.LSTMState | null = state;
    const { value, next } = scope(() =>
      noGrad(() => {
        const [logits, after] = model.forward(
          tensor(ids.slice(at, at + T), { shape: [1, T], device }),
          before,
        );
        const targets = tensor(ids.slice(at + 1, at + 1 + T), { device });
        return { value: measure(logits, targets), next: after };
      }),
    );
    before?.forEach((s) => s.release());
    parts.push({ value: await value.item(), count: T });
    value.release();
    state = next;
  }
  state?.forEach((s) => s.release());
  return parts;
}
