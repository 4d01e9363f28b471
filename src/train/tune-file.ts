/** Node only. The file of a search: a command, its fixed settings, a space of the others, and how they are judged. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { DataError } from '../device/errors.js';
import type { FieldInfo } from './config.js';
import { nearestName } from './nearest-name.js';
import { rungBudgets } from './tune-asha.js';
import { type Json, parseSpace, type SearchSpace, sampleSpace, zodComplaint } from './tune-space.js';

const whole = z.number().int().min(1);

const FILE = z.strictObject({
  command: z.string(),
  settings: z.record(z.string(), z.json()).default({}),
  space: z.unknown(),
  metric: z.string().min(1),
  mode: z.enum(['max', 'min']),
  value: z.enum(['best', 'last']).default('best'),
  budget: z.strictObject({ min: whole, max: whole, eta: z.number().min(2).default(3) }),
  scheduler: z.enum(['asha', 'random']).default('asha'),
  trials: whole,
  workers: whole.default(1),
  seed: z.number().int().min(0).default(0),
});

/** A search over runs of a command. */
export type TuneFile = Omit<z.output<typeof FILE>, 'space' | 'settings'> & {
  readonly settings: Readonly<Record<string, Json>>;
  readonly space: SearchSpace;
};

/** Commands whose runs can be trials, by name. */
export type TuneCommands = Readonly<Record<string, TuneCommand>>;

/** What a search needs of a command's definition. */
export interface TuneCommand {
  readonly fields: readonly FieldInfo[];
  parse(values: Readonly<Record<string, unknown>>, from: string): unknown;
}

/** Settings that the search itself decides. */
const OWN = ['steps', 'epochs', 'name'];

/**
 * Reads the file of a search and checks all that can be checked without training: every name, and the settings of every trial.
 *
 * @param changes fields that take the place of the file's
 * @throws DataError naming the field, what was expected and what is there
 */
export async function readTuneFile(
  path: string,
  commands: TuneCommands,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<TuneFile> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new DataError(`tune: cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseTuneFile({ ...(value as object), ...changes }, commands, path);
}

/** Checks the contents of a search's file; see `readTuneFile`. */
export function parseTuneFile(value: unknown, commands: TuneCommands, from: string): TuneFile {
  const parsed = FILE.safeParse(value, { reportInput: true });
  if (!parsed.success) throw zodComplaint('', parsed.error, from);
  const file = {
    ...parsed.data,
    settings: parsed.data.settings as TuneFile['settings'],
    space: parseSpace(parsed.data.space, from),
  };
  const definition = commands[file.command];
  if (!definition) {
    throw new DataError(
      `tune: expected command to be one of ${Object.keys(commands).join(', ')}, got '${file.command}' in ${from}`,
    );
  }
  checkNames('settings', file.settings, definition.fields, from);
  checkNames('space', file.space, definition.fields, from);
  const both = Object.keys(file.space).find((name) => name in file.settings);
  if (both !== undefined)
    throw new DataError(`tune: expected ${both} in settings or in space, got it in both in ${from}`);
  const [first] = file.scheduler === 'random' ? [file.budget.max] : rungBudgets(file.budget);
  for (let trial = 0; trial < file.trials; trial++) {
    const settings = trialSettings(file, sampleSpace(file.space, file.seed, trial));
    definition.parse(settings, `${from} (trial ${trial})`);
    const { evaluateEvery } = settings;
    if (typeof evaluateEvery === 'number' && evaluateEvery > first) {
      throw new DataError(
        `tune: expected evaluateEvery of at most ${first} steps, the first rung, got ${evaluateEvery} in ${from}`,
      );
    }
  }
  return file;
}

function checkNames(part: string, given: object, fields: readonly FieldInfo[], from: string): void {
  const names = fields.map((field) => field.name).filter((name) => !OWN.includes(name));
  for (const name of Object.keys(given)) {
    if (OWN.includes(name)) {
      const why = name === 'name' ? 'trials have numbers' : 'budget.max is the number of steps';
      throw new DataError(`tune: expected no ${part}.${name} in ${from}: ${why}`);
    }
    if (names.includes(name)) continue;
    const near = nearestName(name, names);
    throw new DataError(
      `tune: expected ${part}.${name} to be a setting of the command in ${from}${near ? `; did you mean '${near}'?` : ''}`,
    );
  }
}

/** The whole settings of a trial. Without a word on it, runs are evaluated as often as at the first rung. */
export function trialSettings(
  { settings, budget }: Pick<TuneFile, 'settings' | 'budget'>,
  params: Readonly<Record<string, Json>>,
): Record<string, Json> {
  return { evaluateEvery: budget.min, ...settings, ...params, steps: budget.max };
}
