/** What can be asked of generation, and whether it makes sense. */
import { checkFilter, type FilterLogitsOptions } from '../autograd/ops/filter-logits.js';
import { DataError } from '../device/errors.js';
import type { CausalLMConfig } from './causal-lm.js';

export interface GenerateOptions extends FilterLogitsOptions {
  /** Longest continuation, in tokens; it also ends where the context of the model does. Default 100. */
  maxNewTokens?: number;
  /** Until there are so many tokens, none that stops is chosen. Default 0. */
  minNewTokens?: number;
  /** Logits are divided by it: 0 always takes the most probable token, 1 (default) samples from what the model says. */
  temperature?: number;
  /**
   * Logits of tokens that have occurred, in the prompt too, are divided by it where positive and multiplied where negative.
   * Default 1: nothing changes.
   * @source Keskar et al., CTRL (2019), section 4.1
   */
  repetitionPenalty?: number;
  /** Added to the logits of tokens, by id; −Infinity bans a token. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number>;
  /** What ends a sequence and is not given out: ids of tokens, and, where there is a tokenizer, strings. */
  stop?: number | string | readonly (number | string)[];
  /** The same seed gives the same tokens. Default: the default generator goes on, which `manualSeed` seeds. */
  seed?: number;
  /** Sequences kept side by side in beam search, which does not sample. Default 1: none. */
  numBeams?: number;
  /** Beams are compared by the sum of their log-probabilities over their length to this power: above 0 favours long ones. Default 1. */
  lengthPenalty?: number;
  /** Continuations of each prompt; in beam search the best so many. Default 1. */
  numSequences?: number;
}

/** The options with everything decided. @internal */
export interface GenerationPlan {
  /** Tokens to choose at most, as the context allows. */
  readonly maxNewTokens: number;
  readonly minNewTokens: number;
  readonly greedy: boolean;
  readonly filter: FilterLogitsOptions;
  readonly repetitionPenalty: number;
  readonly bias: ReadonlyMap<number, number>;
  readonly stopIds: ReadonlySet<number>;
  readonly seed: number | undefined;
  readonly numBeams: number;
  readonly lengthPenalty: number;
  readonly numSequences: number;
}

/** The strings among what stops. @internal */
export function stopStrings(stop: GenerateOptions['stop']): string[] {
  return listOf(stop).filter((s) => typeof s === 'string');
}

/** Tokens and what is added to their logits. @internal */
export function biasEntries(bias: GenerateOptions['logitBias'] = {}): [number, number][] {
  if (bias instanceof Map) return [...bias];
  return Object.entries(bias).map(([token, value]) => [Number(token), value]);
}

function listOf(stop: GenerateOptions['stop'] = []): readonly (number | string)[] {
  return typeof stop === 'object' ? stop : [stop];
}

function expect(ok: boolean, name: string, wanted: string, got: unknown): void {
  if (!ok) throw new DataError(`generate: expected ${name} ${wanted}, got ${String(got)}`);
}

function whole(name: string, value: number, least: number): number {
  expect(Number.isSafeInteger(value) && value >= least, name, `to be an integer of at least ${least}`, value);
  return value;
}

/** @throws DataError for options that make no sense, alone or together, which it names. @internal */
export function planGeneration(
  { vocabSize, contextLength }: Pick<CausalLMConfig, 'vocabSize' | 'contextLength'>,
  prompts: readonly ArrayLike<number>[],
  options: GenerateOptions,
): GenerationPlan {
  const { repetitionPenalty = 1, lengthPenalty = 1, seed, topK = 0, topP = 1, minP = 0 } = options;
  const maxNewTokens = whole('maxNewTokens', options.maxNewTokens ?? 100, 0);
  const minNewTokens = whole('minNewTokens', options.minNewTokens ?? 0, 0);
  expect(
    minNewTokens <= maxNewTokens,
    'minNewTokens',
    `of at most maxNewTokens ${maxNewTokens}`,
    minNewTokens,
  );
  const numBeams = whole('numBeams', options.numBeams ?? 1, 1);
  const numSequences = whole('numSequences', options.numSequences ?? 1, 1);
  if (seed !== undefined) whole('seed', seed, 0);
  expect(
    repetitionPenalty > 0 && repetitionPenalty < Infinity,
    'a repetitionPenalty',
    'above 0',
    repetitionPenalty,
  );
  expect(Number.isFinite(lengthPenalty), 'a finite', 'lengthPenalty', lengthPenalty);
  if (numBeams > 1) {
    expect(numSequences <= numBeams, 'numSequences', `of at most numBeams ${numBeams}`, numSequences);
    expect(2 * numBeams <= vocabSize, 'numBeams', `of at most half the vocabulary of ${vocabSize}`, numBeams);
    const sampling = {
      temperature: options.temperature || undefined,
      topK: options.topK,
      topP: options.topP,
    };
    const given = Object.entries({ ...sampling, minP: options.minP }).filter(([, v]) => v !== undefined);
    const names = given.map(([name]) => name).join(', ');
    expect(
      given.length === 0,
      'nothing that samples',
      'beside numBeams, which takes the most probable',
      names,
    );
  }
  const temperature = options.temperature ?? 1;
  checkFilter('generate', { temperature: temperature === 0 ? 1 : temperature, topK, topP, minP });

  const id = (name: string, value: number): number => {
    expect(
      Number.isInteger(value) && value >= 0 && value < vocabSize,
      name,
      `to be a token in [0, ${vocabSize})`,
      value,
    );
    return value;
  };
  const bias = new Map<number, number>();
  for (const [token, value] of biasEntries(options.logitBias)) {
    expect(
      typeof value === 'number' && value < Infinity,
      'a logitBias',
      'that is a number or −Infinity',
      `${value} for ${token}`,
    );
    if (value !== 0) bias.set(id('each key of logitBias', token), value);
  }
  const stopIds = new Set<number>();
  for (const stop of listOf(options.stop)) {
    if (typeof stop === 'number') stopIds.add(id('each stop', stop));
    else expect(false, 'stops', 'to be ids of tokens (generateText takes strings)', JSON.stringify(stop));
  }
  const banned = new Set([...bias].filter(([, value]) => value === -Infinity).map(([token]) => token));
  if (minNewTokens > 0) for (const stop of stopIds) banned.add(stop);
  expect(banned.size < vocabSize, 'at least one token', 'that is not banned', `${banned.size} bans`);

  expect(prompts.length > 0, 'at least one prompt', '', 'none');
  const longest = Math.max(...prompts.map((p) => p.length));
  prompts.forEach((prompt, i) => {
    const wanted = `${i} of 1 to ${contextLength} tokens, the context of the model`;
    expect(prompt.length >= 1 && prompt.length <= contextLength, 'prompt', wanted, prompt.length);
    for (let t = 0; t < prompt.length; t++) id(`each token of prompt ${i}`, prompt[t]);
  });
  return {
    // The last token chosen need not be read.
    maxNewTokens: Math.min(maxNewTokens, contextLength - longest + 1),
    minNewTokens,
    greedy: temperature === 0 || topK === 1 || numBeams > 1,
    filter: { temperature, topK, topP, minP },
    repetitionPenalty,
    bias,
    stopIds,
    seed,
    numBeams,
    lengthPenalty,
    numSequences,
  };
}
