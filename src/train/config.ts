/** Node only. Settings of a job as one table, from which files, environment, flags and `--help` are read. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import { nearestName } from './nearest-name.js';
import { expectation, show } from './zod-words.js';

/** An integer of at least `least`. */
export const whole = (least: number) => z.number().int().min(least);
/** A number from 0 to 1. */
export const share = z.number().min(0).max(1);

/** Settings by name: what they may be and are without being given, the name of the flag's value, the help. */
export type FieldTable = Record<string, readonly [schema: z.ZodType, valueName: string, help: string]>;

/** How a field is written as text. */
export type FieldKind = 'number' | 'text' | 'flag' | 'list';

export interface FieldInfo {
  readonly name: string;
  readonly kind: FieldKind;
  /** `--batch-size` */
  readonly flag: string;
  /** `DAWNGRAD_BATCH_SIZE` */
  readonly variable: string;
  readonly valueName: string;
  readonly help: string;
  /** What it is when nobody says; undefined where it must be given. */
  readonly initial: unknown;
}

export interface ConfigSources {
  /** Path of a JSON file. */
  readonly file?: string;
  /** Its `DAWNGRAD_…` variables count. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** By field name; values as text, or what they are. */
  readonly flags?: Readonly<Record<string, unknown>>;
}

export interface ConfigRules {
  /** Two fields that take each other's place: what one source says of one ends what a weaker source said of the other. */
  readonly either?: readonly [string, string];
  /** Lists whose text may hold commas. */
  readonly plainLists?: readonly string[];
  /** Refuses fields that make no sense together; `from` says where a field was written. */
  check?(config: Record<string, unknown>, from: (name: string) => string): void;
}

/** The plain data that a definition reads. */
export type ConfigOf<D> =
  D extends ConfigDefinition<infer F> ? { readonly [K in keyof F]: z.output<F[K][0]> } : never;

/** Where a job runs: `device` and `adapter`. */
export const DEVICE_FIELDS = {
  device: [z.enum(['auto', 'webgpu', 'cpu']).default('auto'), 'kind', 'auto, webgpu or cpu'],
  adapter: [
    z.string().min(1).nullable().default(null),
    'name',
    "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'",
  ],
} as const satisfies FieldTable;

/** How often a job looks up, for jobs that know it when they know all their steps. */
export const INTERVAL_FIELDS = {
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
} as const satisfies FieldTable;

/** Variables that mean something to dawngrad outside any job. */
const OTHER_VARIABLES = [
  'DAWNGRAD_THREADS',
  'DAWNGRAD_CACHE',
  'DAWNGRAD_TEST_ADAPTER',
  'DAWNGRAD_EXIT_COUNT',
];

/** A value and where it was written. */
interface Given {
  readonly value: unknown;
  readonly from: string;
}

/**
 * Defines the settings of a job.
 *
 * @param job its name, as messages begin with it: 'finetune'
 * @example
 * const TRAIN = defineConfig('train', { steps: [whole(1).default(100), 'n', 'optimizer steps'] });
 * const config = await TRAIN.read({ file: 'small.json', environment: process.env, flags: { steps: 20 } });
 */
export function defineConfig<const F extends FieldTable>(
  job: string,
  table: F,
  rules: ConfigRules = {},
): ConfigDefinition<F> {
  return new ConfigDefinition(job, table, rules);
}

/** The settings of a job; see `defineConfig`. */
export class ConfigDefinition<F extends FieldTable> {
  /** All fields, in the order of the help. */
  readonly fields: readonly FieldInfo[];
  private readonly schema: z.ZodType;

  constructor(
    readonly job: string,
    private readonly table: F,
    private readonly rules: ConfigRules,
  ) {
    this.fields = Object.entries(table).map(([name, [schema, valueName, help]]) => {
      const words = name.replace(/[A-Z]/g, (c) => `_${c}`);
      return {
        name,
        kind: kindOf(schema),
        flag: `--${words.replaceAll('_', '-').toLowerCase()}`,
        variable: `DAWNGRAD_${words.toUpperCase()}`,
        valueName,
        help,
        initial: schema.safeParse(undefined).data,
      };
    });
    this.schema = z.strictObject(
      Object.fromEntries(Object.entries(table).map(([name, [schema]]) => [name, schema])),
    );
  }

  /**
   * Reads a configuration: flags before environment before file before defaults.
   *
   * @throws DataError naming the field, where it was written, what was expected and what was there; for unknown names also
   *   the nearest known one.
   */
  async read(sources: ConfigSources): Promise<ConfigOf<this>> {
    const given = new Map<string, Given>();
    const { either = [] } = this.rules;
    const put = (name: string, value: unknown, from: string): void => {
      const source = (g?: Given) => g?.from.split(' ')[0];
      if ((either as readonly string[]).includes(name)) {
        for (const other of either) if (source(given.get(other)) !== from.split(' ')[0]) given.delete(other);
      }
      given.set(name, { value, from });
    };
    if (sources.file !== undefined) {
      for (const [name, value] of Object.entries(await this.readJson(sources.file))) {
        put(this.known(name, sources.file, 'name').name, value, `in ${sources.file}`);
      }
    }
    for (const [variable, text] of Object.entries(sources.environment ?? {})) {
      if (!variable.startsWith('DAWNGRAD_') || OTHER_VARIABLES.includes(variable) || !text) continue;
      const field = this.known(variable, 'the environment', 'variable');
      put(field.name, this.fromText(field, text), `as ${variable}`);
    }
    for (const [name, value] of Object.entries(sources.flags ?? {})) {
      const field = this.known(name, 'the flags', 'name');
      put(field.name, typeof value === 'string' ? this.fromText(field, value) : value, `by ${field.flag}`);
    }
    return this.validate(given);
  }

  /**
   * Checks a configuration that was read before, as that of a run.
   *
   * @param from where it stands, for the message
   */
  parse(values: Readonly<Record<string, unknown>>, from: string): ConfigOf<this> {
    const given = Object.entries(values).map(
      ([name, value]) => [this.known(name, from, 'name').name, { value, from: `in ${from}` }] as const,
    );
    return this.validate(new Map(given));
  }

  private async readJson(file: string): Promise<Record<string, unknown>> {
    let value: unknown;
    try {
      value = JSON.parse(await readFile(file, 'utf8'));
    } catch (cause) {
      throw new DataError(`${this.job}: cannot read the configuration ${file}: ${(cause as Error).message}`, {
        cause,
      });
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new DataError(`${this.job}: expected an object of settings in ${file}, got ${show(value)}`);
    }
    return value as Record<string, unknown>;
  }

  private known(name: string, where: string, key: 'name' | 'variable'): FieldInfo {
    const found = this.fields.find((field) => field[key] === name);
    if (found) return found;
    const near = nearestName(
      name,
      this.fields.map((field) => field[key]),
    );
    throw new DataError(
      `${this.job}: expected known settings in ${where}, got '${name}'; ${near ? `did you mean '${near}'?` : 'see --help'}`,
    );
  }

  /** Lists are JSON, or one value, or several with commas between. What does not parse stays text, for the message. */
  private fromText(field: FieldInfo, text: string): unknown {
    switch (field.kind) {
      case 'number':
        return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
      case 'flag':
        return FLAG_WORDS.get(text) ?? text;
      case 'list':
        if (text.trimStart().startsWith('[')) {
          try {
            return JSON.parse(text);
          } catch {
            return text;
          }
        }
        if (this.rules.plainLists?.includes(field.name)) return [text];
        return text.split(',').map((part) => part.trim());
      default:
        return text;
    }
  }

  private validate(given: ReadonlyMap<string, Given>): ConfigOf<this> {
    const { job, schema, rules } = this;
    const values = Object.fromEntries([...given].map(([name, { value }]) => [name, value]));
    const parsed = schema.safeParse(values, { reportInput: true });
    if (!parsed.success) {
      throw new DataError(parsed.error.issues.map((issue) => this.complain(issue, given)).join('\n'));
    }
    const config = parsed.data as Record<string, unknown>;
    const [one, other] = rules.either ?? [];
    if (one && other && config[one] !== null && config[other] !== null) {
      throw new DataError(
        `${job}: expected ${one} or ${other}, got both, ${config[one]} and ${config[other]}`,
      );
    }
    rules.check?.(config, (name) => given.get(name)?.from ?? 'by default');
    return config as ConfigOf<this>;
  }

  private complain(issue: z.core.$ZodIssue, given: ReadonlyMap<string, Given>): string {
    const [name, ...rest] = issue.path as [string, ...PropertyKey[]];
    const at = rest.length > 0 ? `${name}[${rest.map(String).join('.')}]` : name;
    const source = given.get(name);
    if (!source) {
      const flag = this.fields.find((f) => f.name === name)?.flag;
      return `${this.job}: expected ${name} (${this.table[name]?.[2]}), got none; say ${flag}`;
    }
    return `${this.job}: expected ${at} to be ${expectation(issue)}, got ${show(issue.input)} ${source.from}`;
  }
}

const FLAG_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...['true', '1', 'yes'].map((word) => [word, true] as const),
  ...['false', '0', 'no'].map((word) => [word, false] as const),
]);

function kindOf(schema: z.ZodType): FieldKind {
  let inner: z.ZodType = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodNullable) inner = inner.unwrap() as z.ZodType;
  if (inner instanceof z.ZodNumber) return 'number';
  if (inner instanceof z.ZodBoolean) return 'flag';
  return inner instanceof z.ZodArray ? 'list' : 'text';
}
