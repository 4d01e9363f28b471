/** The flags of `generate` and `chat` that say how tokens are chosen. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { GenerateTextOptions } from '../models/generate.js';
import { integer, number } from './options.js';

export interface GenerationFlags {
  model: string;
  maxNewTokens: number;
  minNewTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  logitBias: readonly (readonly [string, number])[];
  ban: readonly string[];
  stop: readonly string[];
  seed?: number;
  numBeams?: number;
  lengthPenalty?: number;
  device: string;
  adapter?: string;
  quantize?: 'int8' | 'nf4';
}

function collected<T>(parse: (text: string) => T): (text: string, before: readonly T[]) => readonly T[] {
  return (text, before) => [...before, parse(text)];
}

/** `TOKEN=NUMBER`: the last '=' divides, so that tokens may have some. */
function biased(text: string): readonly [string, number] {
  const at = text.lastIndexOf('=');
  const given = text.slice(at + 1).trim();
  const value = Number(given);
  if (at < 1 || given === '' || Number.isNaN(value) || value === Infinity) {
    throw new InvalidArgumentError("expected TOKEN=NUMBER, like ' whale=-3' or 198=2.");
  }
  return [text.slice(0, at), value];
}

/** `\n` and `\t` as they are typed in a shell. */
function unescaped(text: string): string {
  return text.replaceAll('\\n', '\n').replaceAll('\\t', '\t');
}

/** Any number, negative ones too. */
function real(text: string): number {
  if (text.trim() === '' || !Number.isFinite(Number(text)))
    throw new InvalidArgumentError('expected a number.');
  return Number(text);
}

/** Adds the flags. */
export function addGenerationFlags(command: Command, { maxNewTokens }: { maxNewTokens: number }): Command {
  return command
    .requiredOption(
      '--model <name>',
      "a model's folder, a run folder, an adapter's folder, or a name on the Hugging Face Hub",
    )
    .option('--max-new-tokens <n>', 'longest continuation, in tokens', integer(0), maxNewTokens)
    .option('--min-new-tokens <n>', 'nothing stops before so many tokens', integer(0))
    .option('--temperature <x>', '0 takes the most probable token; below 1 is tamer, above wilder', number(0))
    .option('--top-k <n>', 'sample from the n most probable tokens only', integer(0))
    .option('--top-p <p>', 'sample from the most probable tokens that reach this share', number(0, 1))
    .option('--min-p <p>', 'sample from tokens at least this share as probable as the best', number(0, 1))
    .option('--repetition-penalty <x>', 'above 1, what has occurred becomes less likely', number(0))
    .option(
      '--logit-bias <token=number>',
      'added to the logit of a token, by id or text; may be repeated',
      collected(biased),
      [],
    )
    .option('--ban <token>', 'never choose a token, by id or text; may be repeated', collected(String), [])
    .option(
      '--stop <text>',
      'end where this comes, which is left out; \\n is a line break; may be repeated',
      collected(unescaped),
      [],
    )
    .option(
      '--seed <n>',
      'the same seed gives the same text; default: a new one, which is printed',
      integer(0),
    )
    .option('--num-beams <n>', 'beam search with n beams instead of sampling', integer(1))
    .option('--length-penalty <x>', 'of beam search: above 0 favours long texts', real)
    .option('--device <kind>', 'auto, webgpu or cpu', 'auto')
    .option('--adapter <name>', "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'")
    .addOption(
      new Option('--quantize <scheme>', 'keep the weights of linear layers in 8 or 4 bits').choices([
        'int8',
        'nf4',
      ]),
    );
}

/** The ids that a token of the command line means: itself, or a text that is one token, with or without a space before it. */
function idsOf(name: string, text: string, tokenizer: Tokenizer): number[] {
  if (/^\d+$/.test(text)) {
    if (Number(text) < tokenizer.size) return [Number(text)];
    throw new DataError(`${name}: expected a token below ${tokenizer.size}, got ${text}`);
  }
  const forms = text.startsWith(' ') ? [text] : [text, ` ${text}`];
  const ids = forms.map((form) => tokenizer.encode(form)).filter((form) => form.length === 1);
  if (ids.length > 0) return ids.map(([id]) => id);
  const pieces = Array.from(tokenizer.encode(text), (id) => JSON.stringify(tokenizer.decode([id])));
  throw new DataError(
    `${name}: expected text that is a single token, got ${JSON.stringify(text)}, which is ${pieces.join(' + ')}`,
  );
}

/** What `generateText` is told. @throws DataError for tokens that are none. */
export function generationOptions(
  flags: GenerationFlags,
  tokenizer: Tokenizer,
  seed: number,
): GenerateTextOptions {
  const logitBias = new Map<number, number>();
  for (const [text, value] of flags.logitBias) {
    for (const id of idsOf('--logit-bias', text, tokenizer)) logitBias.set(id, value);
  }
  for (const text of flags.ban)
    for (const id of idsOf('--ban', text, tokenizer)) logitBias.set(id, -Infinity);
  const { maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, numBeams, lengthPenalty } = flags;
  return {
    maxNewTokens,
    minNewTokens: flags.minNewTokens,
    ...{ temperature, topK, topP, minP, repetitionPenalty, logitBias, numBeams, lengthPenalty },
    stop: flags.stop,
    seed,
  };
}

/** The seed that was given, or a new one. */
export function seedOf({ seed }: GenerationFlags): number {
  return seed ?? Math.floor(Math.random() * 2 ** 31);
}
