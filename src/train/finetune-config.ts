/** Node only. What decides a fine-tuning run: one table that files, environment, flags and `--help` are read from. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import { GPT2_SIZES } from '../models/gpt2-config.js';

const whole = (least: number) => z.number().int().min(least);
const positive = z.number().positive();
const share = z.number().min(0).max(1);

/** Fields by name: what they may be, what they are without being given, and what to say of them. */
const FIELDS = {
  name: [
    z.string().min(1).nullable().default(null),
    'name',
    'name of the run folder; default: the model and the method',
  ],
  model: [
    z.string().min(1).default('gpt2'),
    'model',
    "a folder, a run, a name on the Hugging Face Hub, or 'scratch' for random weights",
  ],
  size: [
    z.enum(GPT2_SIZES).nullable().default(null),
    'size',
    'scratch: the size to begin with (default nano)',
  ],
  layers: [whole(1).nullable().default(null), 'n', 'scratch: Transformer blocks'],
  dim: [whole(1).nullable().default(null), 'n', 'scratch: width of the model'],
  heads: [whole(1).nullable().default(null), 'n', 'scratch: attention heads'],
  context: [
    whole(2).nullable().default(null),
    'n',
    'scratch: longest context in tokens (default: blockSize, or as the size says)',
  ],
  vocabSize: [
    whole(257).max(50_257).nullable().default(null),
    'n',
    'scratch: tokens of the vocabulary, the first of r50k_base (default 2048)',
  ],
  dropout: [
    z.number().min(0).lt(1).nullable().default(null),
    'p',
    'share of activations dropped in training (default: as the model says; scratch 0)',
  ],
  data: [
    z.array(z.string().min(1)).min(1),
    'path',
    'files of questions and answers (.jsonl or QUESTION:/ANSWER: text), plain text, or folders of .txt',
  ],
  answersOnly: [z.boolean().default(false), '', 'only tokens of answers count in the loss'],
  validation: [
    z.number().min(0.001).max(0.9).default(0.1),
    'share',
    'share held out of data that say no split (of text: its end)',
  ],
  method: [
    z.enum(['full', 'lora', 'qlora']).default('full'),
    'method',
    'what is trained: full, lora or qlora',
  ],
  scheme: [z.enum(['nf4', 'int8']).default('nf4'), 'scheme', 'qlora: how the base is kept, nf4 or int8'],
  rank: [whole(1).default(16), 'r', 'lora: rank of the adapters'],
  alpha: [positive.default(32), 'a', 'lora: the adapters count alpha / rank'],
  loraDropout: [z.number().min(0).lt(1).default(0), 'p', 'lora: share of inputs dropped before the adapters'],
  targets: [
    z.array(z.string().min(1)).min(1).default(['c_attn', 'c_proj', 'c_fc']),
    'module',
    'lora: modules that get adapters, by the end of their names',
  ],
  lr: [
    positive.nullable().default(null),
    'x',
    'peak learning rate (default: scratch 2e-3, lora 1e-3, full 5e-5)',
  ],
  batchSize: [whole(1).default(8), 'n', 'blocks per batch'],
  blockSize: [whole(2).nullable().default(null), 'n', 'tokens per block (default: the context, at most 256)'],
  accumulate: [whole(1).default(1), 'n', 'batches per step, their gradients averaged'],
  steps: [whole(1).nullable().default(null), 'n', 'optimizer steps; instead of epochs'],
  epochs: [positive.nullable().default(null), 'x', 'passes over the data (default 3)'],
  warmup: [share.default(0.1), 'share', 'share of the steps in which the rate rises; a cosine follows'],
  clipNorm: [positive.default(1), 'x', 'largest gradient norm'],
  weightDecay: [z.number().min(0).default(0.1), 'x', 'decay of weight matrices'],
  precision: [
    z.enum(['float32', 'mixed']).default('float32'),
    'p',
    "'mixed' computes matrix products in float16",
  ],
  evaluateEvery: [
    whole(1).nullable().default(null),
    'n',
    'steps between evaluations (default: a tenth of all)',
  ],
  checkpointEvery: [
    whole(1).nullable().default(null),
    'n',
    'steps between checkpoints (default: at evaluations)',
  ],
  patience: [whole(0).default(0), 'n', 'evaluations without a new best before it stops; 0 for never'],
  seed: [whole(0).default(1), 'n', 'the same seed repeats the same run'],
  device: [z.enum(['auto', 'webgpu', 'cpu']).default('auto'), 'kind', 'auto, webgpu or cpu'],
  adapter: [
    z.string().min(1).nullable().default(null),
    'name',
    "WebGPU adapter: part of its name, 'swiftshader' …",
  ],
  capture: [
    z.boolean().default(true),
    '',
    'replay the first step at the others; false is slower, same numbers',
  ],
  samplePrompts: [
    z.array(z.string().min(1)).nullable().default(null),
    'text',
    'what samples continue (default: held-out questions, or the start of the held-out text)',
  ],
  evaluationTokens: [whole(0).default(16_384), 'n', 'held-out tokens to measure on; 0 for all'],
  sampleLength: [whole(0).default(60), 'n', 'tokens of each sample; 0 for none'],
  temperature: [z.number().min(0).default(0.8), 'x', 'of samples'],
  topK: [whole(0).default(40), 'n', 'of samples; 0 for all tokens'],
} as const satisfies Record<string, readonly [z.ZodType, string, string]>;

type Fields = typeof FIELDS;
export type FinetuneField = keyof Fields;

/** Everything that decides a fine-tuning run; written to its config.json. */
export type FinetuneConfig = { readonly [K in FinetuneField]: z.output<Fields[K][0]> };

const SHAPE = Object.fromEntries(Object.entries(FIELDS).map(([name, [schema]]) => [name, schema])) as {
  [K in FinetuneField]: Fields[K][0];
};
const SCHEMA = z.strictObject(SHAPE);

/** How a field is written as text. */
export type FieldKind = 'number' | 'text' | 'flag' | 'list';

export interface FieldInfo {
  readonly name: FinetuneField;
  readonly kind: FieldKind;
  /** `--batch-size` */
  readonly flag: string;
  /** `DAWNGRAD_BATCH_SIZE` */
  readonly variable: string;
  readonly placeholder: string;
  readonly help: string;
  /** What it is when nobody says; undefined where it must be given. */
  readonly initial: unknown;
}

/** All fields, in the order of the help. */
export const FINETUNE_FIELDS: readonly FieldInfo[] = (Object.keys(FIELDS) as FinetuneField[]).map((name) => {
  const [schema, placeholder, help] = FIELDS[name];
  const words = name.replace(/[A-Z]/g, (c) => `_${c}`);
  return {
    name,
    kind: kindOf(schema),
    flag: `--${words.replaceAll('_', '-').toLowerCase()}`,
    variable: `DAWNGRAD_${words.toUpperCase()}`,
    placeholder,
    help,
    initial: schema.safeParse(undefined).data,
  };
});

/** Variables that mean something to dawngrad outside this job. */
const OTHER_VARIABLES = [
  'DAWNGRAD_THREADS',
  'DAWNGRAD_CACHE',
  'DAWNGRAD_TEST_ADAPTER',
  'DAWNGRAD_EXIT_COUNT',
];
/** Fields that take the place of what was there, so that one source's choice ends the other's. */
const EITHER = ['steps', 'epochs'] as const;

function kindOf(schema: z.ZodType): FieldKind {
  let inner: z.ZodType = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodNullable) inner = inner.unwrap() as z.ZodType;
  if (inner instanceof z.ZodNumber) return 'number';
  if (inner instanceof z.ZodBoolean) return 'flag';
  return inner instanceof z.ZodArray ? 'list' : 'text';
}

/** A value and where it was written. */
interface Given {
  readonly value: unknown;
  readonly from: string;
}

export interface ConfigSources {
  /** Path of a JSON file. */
  readonly file?: string;
  /** Its `DAWNGRAD_…` variables count. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** By field name; values as text, or what they are. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

/**
 * Reads a configuration: flags before environment before file before defaults.
 *
 * @throws DataError naming the field, where it was written, what was expected and what was there; for unknown names also
 *   the nearest known one.
 */
export async function readFinetuneConfig(sources: ConfigSources): Promise<FinetuneConfig> {
  const given = new Map<FinetuneField, Given>();
  const put = (name: FinetuneField, value: unknown, from: string): void => {
    if ((EITHER as readonly string[]).includes(name)) {
      for (const other of EITHER)
        if (given.get(other)?.from.split(' ')[0] !== from.split(' ')[0]) given.delete(other);
    }
    given.set(name, { value, from });
  };
  if (sources.file !== undefined) {
    for (const [name, value] of Object.entries(await readJson(sources.file))) {
      put(known(name, sources.file, (f) => f.name).name, value, `in ${sources.file}`);
    }
  }
  for (const [variable, text] of Object.entries(sources.environment ?? {})) {
    if (!variable.startsWith('DAWNGRAD_') || OTHER_VARIABLES.includes(variable) || !text) continue;
    const field = known(variable, 'the environment', (f) => f.variable);
    put(field.name, fromText(field, text), `as ${variable}`);
  }
  for (const [name, value] of Object.entries(sources.flags ?? {})) {
    const field = known(name, 'the flags', (f) => f.name);
    put(field.name, typeof value === 'string' ? fromText(field, value) : value, `by ${field.flag}`);
  }
  return validate(given);
}

/**
 * Checks a configuration that was read before, as that of a run.
 *
 * @param from where it stands, for the message
 */
export function parseFinetuneConfig(values: Readonly<Record<string, unknown>>, from: string): FinetuneConfig {
  const given = Object.entries(values).map(
    ([name, value]) => [known(name, from, (f) => f.name).name, { value, from: `in ${from}` }] as const,
  );
  return validate(new Map(given));
}

async function readJson(file: string): Promise<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new DataError(`finetune: cannot read the configuration ${file}: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DataError(`finetune: expected an object of settings in ${file}, got ${show(value)}`);
  }
  return value as Record<string, unknown>;
}

function known(name: string, where: string, key: (field: FieldInfo) => string): FieldInfo {
  const found = FINETUNE_FIELDS.find((field) => key(field) === name);
  if (found) return found;
  const near = nearest(name, FINETUNE_FIELDS.map(key));
  throw new DataError(
    `finetune: expected known settings in ${where}, got '${name}'; ${near ? `did you mean '${near}'?` : 'see dawngrad finetune --help'}`,
  );
}

/** Lists are JSON, or one value; of paths and modules several with commas between. What does not parse stays text, for the message. */
function fromText(field: FieldInfo, text: string): unknown {
  switch (field.kind) {
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'flag':
      return (
        ({ true: true, 1: true, yes: true, false: false, 0: false, no: false } as Record<string, boolean>)[
          text
        ] ?? text
      );
    case 'list':
      if (text.trimStart().startsWith('[')) {
        try {
          return JSON.parse(text);
        } catch {
          return text;
        }
      }
      return field.name === 'samplePrompts' ? [text] : text.split(',').map((part) => part.trim());
    default:
      return text;
  }
}

function validate(given: ReadonlyMap<FinetuneField, Given>): FinetuneConfig {
  const parsed = SCHEMA.safeParse(Object.fromEntries([...given].map(([name, { value }]) => [name, value])), {
    reportInput: true,
  });
  if (!parsed.success)
    throw new DataError(parsed.error.issues.map((issue) => complain(issue, given)).join('\n'));
  checkTogether(parsed.data as FinetuneConfig, given);
  return parsed.data as FinetuneConfig;
}

/** Fields that make no sense together. */
function checkTogether(config: FinetuneConfig, given: ReadonlyMap<FinetuneField, Given>): void {
  const fail = (text: string): never => {
    throw new DataError(`finetune: ${text}`);
  };
  if (config.steps !== null && config.epochs !== null) {
    fail(`expected steps or epochs, got both, ${config.steps} and ${config.epochs}`);
  }
  if (config.model !== 'scratch') {
    for (const name of ['size', 'layers', 'dim', 'heads', 'context', 'vocabSize'] as const) {
      if (config[name] === null) continue;
      fail(
        `expected ${name} only beside model 'scratch', got ${show(config[name])} ${given.get(name)?.from} and the model '${config.model}', which has its own`,
      );
    }
  } else if (config.method !== 'full') {
    fail(
      `expected method 'full' beside model 'scratch', got '${config.method}': adapters need a trained model to sit on`,
    );
  }
}

function complain(issue: z.core.$ZodIssue, given: ReadonlyMap<FinetuneField, Given>): string {
  const [name, ...rest] = issue.path as [FinetuneField, ...PropertyKey[]];
  const at = rest.length > 0 ? `${name}[${rest.map(String).join('.')}]` : name;
  const source = given.get(name);
  if (!source) {
    return `finetune: expected ${name} (${FIELDS[name]?.[2]}), got none; say ${FINETUNE_FIELDS.find((f) => f.name === name)?.flag}`;
  }
  return `finetune: expected ${at} to be ${expectation(issue)}, got ${show(issue.input)} ${source.from}`;
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_value':
      return `one of ${issue.values.join(', ')}`;
    case 'too_small':
      if (issue.origin === 'array' || issue.origin === 'string') return 'not empty';
      return `${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`;
    case 'too_big':
      return `${issue.inclusive ? 'at most' : 'below'} ${issue.maximum}`;
    case 'invalid_type':
      return (
        (
          { int: 'an integer', number: 'a number', array: 'a list', boolean: 'true or false' } as Record<
            string,
            string
          >
        )[issue.expected] ?? `a ${issue.expected}`
      );
    default:
      return issue.message;
  }
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : JSON.stringify(value);
}

/** The known name that fewest edits lead to, if they are few. */
export function nearest(name: string, names: readonly string[]): string | null {
  const plain = (s: string): string => s.toLowerCase().replaceAll(/[-_]/g, '');
  let best: string | null = null;
  const own = name.replace(/^DAWNGRAD_/, '');
  let least = Math.max(2, Math.ceil(own.length / 3)) + 1;
  for (const candidate of names) {
    const edits = distance(plain(name), plain(candidate));
    if (edits < least) [best, least] = [candidate, edits];
  }
  return best;
}

/** @source Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals (1966) */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
