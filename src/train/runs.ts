/** Node only. Run folders of any command or recipe, read for a look at several of them. */
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsReader } from '../data/safetensors-reader.js';
import { DataError } from '../device/errors.js';
import { TRAIN } from './char-lm-config.js';
import { CLASSIFY } from './classify-config.js';
import { FINETUNE } from './finetune-config.js';
import { type MetricsLine, RunFolder } from './run-folder.js';
import { LAST } from './trainer.js';

/** A run, as far as it can be read. */
export interface Run {
  /** Its path below the folder of all runs. */
  readonly name: string;
  readonly path: string;
  /** The command whose settings these are; 'other' for recipes and whatever else trains. */
  readonly kind: 'train' | 'finetune' | 'classify' | 'other';
  /** One value per name, nested ones as `resolved.lr`; without hashes. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly metrics: readonly MetricsLine[];
  /** What `result.json` says; null before there is one. */
  readonly result: Readonly<Record<string, unknown>> | null;
  /** Last step of the metrics. */
  readonly step: number;
  /** Steps it was to take; null where its settings do not say. */
  readonly steps: number | null;
  /** Of the last step; NaN where it was not finite, null before the first. */
  readonly loss: number | null;
  /** The lowest validation loss; null before the first evaluation. */
  readonly best: { readonly step: number; readonly validation: number } | null;
  /** 'finished', 'early stopping', or 'unfinished'. */
  readonly state: string;
  readonly modified: Date;
  /** Time spent in steps; null where nothing says. */
  readonly seconds: number | null;
  /** What could not be read. */
  readonly problems: readonly string[];
}

/** A folder among runs that is none, or is too broken to be read. */
export interface ForeignFolder {
  readonly name: string;
  readonly path: string;
  readonly why: string;
}

export interface FoundRuns {
  /** The one written to last first. */
  readonly runs: Run[];
  readonly foreign: ForeignFolder[];
}

/** Folders of runs in folders: a search holds trials, which hold runs. */
const DEPTH = 4;

/**
 * All runs in a folder and the folders of runs in it (trials of a search, folds of a cross-validation).
 *
 * @param base the folder of all runs
 * @throws DataError where it cannot be read; a folder in it that cannot is listed with the reason
 */
export async function findRuns(base: string): Promise<FoundRuns> {
  const found: FoundRuns = { runs: [], foreign: [] };
  for (const name of await foldersIn(base)) await look(base, name, DEPTH, found);
  found.runs.sort((a, b) => b.modified.getTime() - a.modified.getTime() || (a.name < b.name ? -1 : 1));
  return found;
}

async function look(base: string, name: string, depth: number, found: FoundRuns): Promise<void> {
  const path = join(base, name);
  const { foreign } = found;
  try {
    const isRun = existsSync(join(path, 'config.json'));
    if (isRun) found.runs.push(await readRun(path, name));
    // A run's other folders are models, which have a config.json of their own.
    const inner = (await foldersIn(path)).filter((folder) => !isRun || /^fold-\d+$/.test(folder));
    const before = found.runs.length + foreign.length;
    if (depth > 1) for (const folder of inner) await look(base, join(name, folder), depth - 1, found);
    if (!isRun && found.runs.length + foreign.length === before)
      foreign.push({ name, path, why: 'no run: it holds no config.json' });
  } catch (error) {
    foreign.push({ name, path, why: (error as Error).message });
  }
}

async function foldersIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch (cause) {
    throw new DataError(`runs: cannot read the folder ${path}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Runs by name in the folder of all runs, or by path.
 * @throws DataError for a name without a run, with those that there are
 */
export async function openRuns(names: readonly string[], base: string): Promise<Run[]> {
  return Promise.all(
    names.map(async (name) => {
      const path = [join(base, name), name].find((p) => existsSync(join(p, 'config.json')));
      if (path !== undefined) return readRun(path, name);
      const known = existsSync(base) ? (await findRuns(base)).runs.map((run) => run.name) : [];
      throw new DataError(
        `runs: expected the name of a run in ${base}, or a path, got '${name}'; there ${known.length === 1 ? 'is' : 'are'} ${known.slice(0, 8).join(', ') || 'none'}${known.length > 8 ? ' …' : ''}`,
      );
    }),
  );
}

/** @throws DataError where its settings cannot be read; what else is broken is among the problems. */
export async function readRun(path: string, name = path): Promise<Run> {
  const { config } = await RunFolder.open(path);
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new DataError(
      `${join(path, 'config.json')}: expected an object of settings, got ${JSON.stringify(config)}`,
    );
  const problems: string[] = [];
  const metrics = await readLines(join(path, 'metrics.jsonl'), problems);
  const result = await readResult(join(path, 'result.json'), problems);
  const { resolved } = config as { resolved?: object };
  const settings = flatten({ ...config, ...Object(resolved), resolved: undefined, digest: undefined });
  const lossLine = metrics.findLast((line) => 'loss' in line);
  const evaluations = points(metrics, 'validation');
  const best = evaluations.reduce<[number, number] | null>((a, b) => (a && a[1] <= b[1] ? a : b), null);
  const stopped = result?.stopped;
  return {
    name,
    path,
    kind: kindOf(config),
    settings,
    metrics,
    result,
    step: metrics.reduce((last, line) => Math.max(last, line.step), 0),
    steps: typeof settings.steps === 'number' ? settings.steps : null,
    loss: lossLine ? numberOr(lossLine.loss, Number.NaN) : null,
    best: best && { step: best[0], validation: best[1] },
    state: result === null ? 'unfinished' : typeof stopped === 'string' ? stopped : 'finished',
    modified: await lastChange(path),
    seconds: await secondsOf(path, result),
    problems,
  };
}

/** Step and value of a metric, where it is a number. */
export function points(metrics: readonly MetricsLine[], metric: string): [step: number, value: number][] {
  return metrics.flatMap((line) => {
    const value = line[metric];
    return typeof value === 'number' ? [[line.step, value] as [number, number]] : [];
  });
}

/** Names of all metrics of some runs. */
export function metricNames(runs: readonly Run[]): string[] {
  const names = new Set(runs.flatMap(({ metrics }) => metrics.flatMap((line) => Object.keys(line))));
  names.delete('step');
  return [...names];
}

/** The command that knows most of the settings by name; runs made by older ones may lack a few. */
function kindOf(config: object): Run['kind'] {
  const shares = [TRAIN, FINETUNE, CLASSIFY].map(({ job, fields }) => {
    const names = fields.map((field) => field.name).filter((name) => name !== 'name');
    return { job, share: names.filter((name) => name in config).length / names.length };
  });
  const most = shares.reduce((a, b) => (b.share > a.share ? b : a));
  return most.share >= 0.7 ? (most.job as Run['kind']) : 'other';
}

/** Every complete line that is a record. */
async function readLines(file: string, problems: string[]): Promise<MetricsLine[]> {
  const text = await readFile(file, 'utf8').catch(missing(file, problems));
  const broken: number[] = [];
  const lines = (text ?? '')
    .split('\n')
    .slice(0, -1)
    .flatMap((line, i) => {
      try {
        const value = JSON.parse(line) as MetricsLine | null;
        if (Number.isSafeInteger(value?.step)) return [value as MetricsLine];
      } catch {
        // Counted below.
      }
      broken.push(i + 1);
      return [];
    });
  if (broken.length > 0)
    problems.push(
      `${file}: ${broken.length === 1 ? 'one line is' : `${broken.length} lines are`} no record, the first at ${broken[0]}`,
    );
  return lines;
}

async function readResult(file: string, problems: string[]): Promise<Record<string, unknown> | null> {
  const text = await readFile(file, 'utf8').catch(missing(file, problems));
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
    problems.push(`${file}: expected an object, got ${text.trim().slice(0, 40)}`);
  } catch (error) {
    problems.push(`${file} is not JSON: ${(error as Error).message}`);
  }
  return null;
}

function missing(file: string, problems: string[]): (error: NodeJS.ErrnoException) => null {
  return (error) => {
    if (error.code !== 'ENOENT') problems.push(`${file}: ${error.message}`);
    return null;
  };
}

/** From the result, else from the last checkpoint. */
async function secondsOf(path: string, result: Record<string, unknown> | null): Promise<number | null> {
  if (typeof result?.seconds === 'number') return result.seconds;
  const file = join(path, LAST);
  if (!existsSync(file)) return null;
  try {
    const reader = await SafetensorsReader.open(file);
    await reader.close();
    return numberOr((JSON.parse(reader.metadata.progress) as { seconds?: unknown }).seconds, null);
  } catch {
    // A checkpoint of another program, or a broken one: resuming says so, a list need not.
    return null;
  }
}

async function lastChange(path: string): Promise<Date> {
  const times = await Promise.all(
    ['config.json', 'metrics.jsonl', 'result.json'].map((name) =>
      stat(join(path, name)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return new Date(Math.max(...times));
}

function numberOr<T>(value: unknown, other: T): number | T {
  return typeof value === 'number' ? value : other;
}

/** Nested settings by dotted names; lists stay as they are. */
export function flatten(value: object, prefix = ''): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
      if (inner === undefined) return [];
      const name = `${prefix}${key}`;
      const isNested = typeof inner === 'object' && inner !== null && !Array.isArray(inner);
      return isNested ? Object.entries(flatten(inner, `${name}.`)) : [[name, inner]];
    }),
  );
}
