/** Text from a language model: tokens one after the other, given out as they come. */
import { capture } from '../autograd/capture.js';
import { noGrad } from '../autograd/mode.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import { keep } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import { beamSearch } from './beam-search.js';
import type { CausalLM } from './causal-lm.js';
import { Decoder, type TokenReader } from './decoder.js';
import {
  biasEntries,
  type GenerateOptions,
  type GenerationPlan,
  planGeneration,
  stopStrings,
} from './generate-options.js';
import { TokenChooser } from './logits.js';
import { RecurrentDecoder } from './recurrent-decoder.js';
import type { RecurrentLM } from './recurrent-lm.js';
import { StopText } from './stop-text.js';

/** A token as it is chosen. */
export interface GeneratedToken {
  /** Number of the prompt that it continues. */
  readonly prompt: number;
  /** Which of the prompt's continuations, below `numSequences`. */
  readonly sequence: number;
  readonly token: number;
}

/**
 * Continues prompts token by token. Prompts are read at once, whatever their lengths; each further token costs one position,
 * in a step that is captured once for each capacity of the cache; a recurrent model has its state instead. Tokens are chosen on the device, which works on the next
 * one while the caller has the last. Beam search gives its tokens when it is done.
 *
 * The model is set to evaluate until the end: run the generator to it, or leave its loop.
 *
 * @param prompts token ids, each of 1 or more
 * @throws DataError for options that make no sense, which it names
 * @example
 * for await (const { token } of generate(model, [prompt], { maxNewTokens: 20, temperature: 0.8, topK: 40 })) ids.push(token);
 */
export async function* generate(
  model: CausalLM | RecurrentLM,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, void, undefined> {
  const plan = planGeneration(model.shape, prompts, options);
  if (plan.maxNewTokens === 0) return;
  const decoder = 'step' in model ? new RecurrentDecoder(model, prompts) : new Decoder(model, prompts);
  const copies = plan.numBeams > 1 ? plan.numBeams : plan.numSequences;
  const sequences = prompts.flatMap((prompt) => Array.from({ length: copies }, () => prompt));
  const chooser = new TokenChooser(plan, model.shape.vocabSize, sequences, decoder.device);
  try {
    yield* plan.numBeams > 1
      ? beamSearch(decoder, chooser, prompts.length, model.shape.vocabSize, plan)
      : choose(decoder, chooser, sequences.length, plan);
  } finally {
    chooser.release();
    decoder.release();
  }
}

/** Tokens on their way from the device. */
class Reading {
  ids: ArrayLike<number> | null = null;
  readonly done: Promise<ArrayLike<number>>;

  constructor(readonly tokens: Tensor) {
    this.done = tokens.data().then((ids) => {
      this.ids = ids as Int32Array;
      return this.ids;
    });
    // An error is thrown where it is awaited, even when other things are awaited before.
    this.done.catch(() => {});
  }

  /** Whether the tokens are there without waiting: a device that computes in this thread has them. */
  async isThere(): Promise<boolean> {
    for (let turn = 0; turn < 16 && !this.ids; turn++) await undefined;
    return this.ids !== null;
  }
}

async function* choose(
  decoder: TokenReader,
  chooser: TokenChooser,
  rows: number,
  plan: GenerationPlan,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { maxNewTokens, minNewTokens, numSequences, stopIds } = plan;
  const step = capture(
    (token: Tensor, early: boolean) => noGrad(() => chooser.choose(decoder.read(token), early)),
    { device: decoder.device },
  );
  const first = decoder.prefill(numSequences, (logits) => chooser.choose(logits, minNewTokens > 0));
  const made = new Set<Tensor>([first]);
  const running = new Set(Array.from({ length: rows }, (_, row) => row));
  try {
    let reading = new Reading(keep(first));
    for (let count = 1; ; count++) {
      const next = (): Reading => {
        decoder.cache.reserve(1);
        const tokens = step(reading.tokens, count < minNewTokens);
        made.add(tokens);
        return new Reading(tokens);
      };
      // What the device has not chosen yet, it can read all the same.
      let ahead = count < maxNewTokens && !(await reading.isThere()) ? next() : null;
      const ids = await reading.done;
      for (const row of running) {
        if (stopIds.has(ids[row])) running.delete(row);
        else {
          yield {
            prompt: Math.floor(row / numSequences),
            sequence: row % numSequences,
            token: ids[row],
          };
        }
      }
      if (running.size === 0 || count === maxNewTokens) return;
      ahead ??= next();
      reading = ahead;
    }
  } finally {
    step.release();
    for (const tokens of made) tokens.release();
  }
}

/** Text of a continuation, as `generateText` gives it. */
export interface GenerateTextOptions extends GenerateOptions {
  /** The tokenizer's end of text stops as well. Default true. */
  stopAtEnd?: boolean;
  /** Called with each token as it is chosen, before its text. */
  onToken?: (token: number) => void;
}

/**
 * Continues a text, in pieces that are whole characters. Strings in `stop` end it even where they straddle tokens; neither they
 * nor parts of them are given out. An empty prompt stands for the end of a text, behind which another begins.
 *
 * @param prompt text, in which names of special tokens are text like any other, or ids
 * @throws DataError as `generate`, for several sequences, and for an empty prompt without an end of text
 * @example
 * for await (const piece of generateText(model, tokenizer, 'Once', { stop: '\n' })) process.stdout.write(piece);
 */
export async function* generateText(
  model: CausalLM | RecurrentLM,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  { stopAtEnd = true, onToken, ...options }: GenerateTextOptions = {},
): AsyncGenerator<string, void, undefined> {
  if ((options.numSequences ?? 1) !== 1) {
    throw new DataError(
      `generateText: expected one sequence, got numSequences ${options.numSequences}; use generate`,
    );
  }
  if (tokenizer.size > model.shape.vocabSize) {
    throw new DataError(
      `generateText: expected a tokenizer of at most ${model.shape.vocabSize} ids, as the model has, got one of ${tokenizer.size}`,
    );
  }
  const ids = typeof prompt === 'string' ? promptIds(tokenizer, prompt) : prompt;
  const strings = stopStrings(options.stop);
  if (strings.includes('')) {
    throw new DataError('generateText: expected stop strings of at least one character, got an empty one');
  }
  const stops = [options.stop ?? []].flat().filter((s) => typeof s === 'number');
  if (stopAtEnd && tokenizer.endOfText !== null) stops.push(tokenizer.endOfText);
  // A model may have more tokens than there are: such have no text.
  const logitBias = new Map(biasEntries(options.logitBias));
  for (let id = tokenizer.size; id < model.shape.vocabSize; id++) logitBias.set(id, -Infinity);
  const stream = tokenizer.stream();
  const text = new StopText(strings);
  let count = 0;
  for await (const { token } of generate(model, [ids], { ...options, logitBias, stop: stops })) {
    count++;
    onToken?.(token);
    const piece = text.push(stream.push(token), count >= (options.minNewTokens ?? 0));
    if (piece !== '') yield piece;
    if (text.stopped) return;
  }
  const rest = text.push(stream.end(), true) + text.end();
  if (rest !== '') yield rest;
}

/** The ids of a prompt; those of an empty one. @throws DataError where there are none. */
export function promptIds(tokenizer: Tokenizer, prompt: string): Int32Array {
  if (prompt !== '') return tokenizer.encode(prompt);
  if (tokenizer.endOfText === null) {
    throw new DataError(
      'generateText: expected a prompt, got an empty one, and the tokenizer has no end of text to begin behind',
    );
  }
  return Int32Array.of(tokenizer.endOfText);
}
