/** Node only. A trial as a process of its own: a command that trains up to a rung, and later goes on from there. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';
import type { FieldInfo } from './config.js';
import { listRuns, type MetricsLine, RunFolder } from './run-folder.js';
import { LAST } from './trainer.js';
import type { TrialContext } from './tune.js';
import { type TuneFile, trialSettings } from './tune-file.js';
import type { Json } from './tune-space.js';

export interface CommandTrialOptions
  extends Pick<TuneFile, 'command' | 'settings' | 'budget' | 'metric' | 'mode' | 'value'> {
  /** How dawngrad is started: the program, and arguments before the command. */
  readonly program: readonly [path: string, ...args: string[]];
  /** Of the command: variables of the environment that would take the place of a trial's settings are kept from it. */
  readonly fields: readonly FieldInfo[];
  /** Threads of each trial's CPU device; default: as the environment says. */
  readonly threads?: number;
  /** Stops trials at once when it is aborted; the context's signal lets them save. */
  readonly kill?: AbortSignal;
}

/** Output of a trial, in its folder. */
export const LOG = 'log.txt';
const SETTINGS = 'settings.json';

/** Trains a trial up to its budget in a process of its own, and reads its metric. */
export async function runTrial(
  params: Readonly<Record<string, Json | undefined>>,
  context: TrialContext,
  options: CommandTrialOptions,
): Promise<number> {
  const { budget, signal } = context;
  const folder = context.folder!;
  let run = await runOf(folder);
  if (run && !existsSync(run.file(LAST))) {
    // Killed before its first checkpoint.
    await rm(run.path, { recursive: true });
    run = null;
  }
  if (!run || !existsSync(run.file('result.json'))) {
    const settings = trialSettings(options, params as Record<string, Json>);
    await writeFileAtomic(join(folder, SETTINGS), [`${JSON.stringify(settings, undefined, 2)}\n`]);
    const from = run ? ['--resume', run.path] : ['--config', join(folder, SETTINGS)];
    await start([options.command, '--out', folder, ...from, '--stop-at', String(budget)], folder, {
      ...options,
      environment: environmentOf(options, settings),
      signal,
    });
    run = await runOf(folder);
  }
  if (!run) throw new DataError(`expected a run folder in ${folder}, got none; see ${join(folder, LOG)}`);
  const lines = await run.readMetrics();
  const reached = lines.reduce((step, line) => Math.max(step, line.step), 0);
  // A run with a result has ended, early or not: no budget takes it further.
  if (reached < budget && !existsSync(run.file('result.json')))
    throw new DataError(`stopped at step ${reached} of ${budget}`);
  return metricOf(lines, { ...options, budget, from: run.file('metrics.jsonl') });
}

/** The only run in a trial's folder. */
async function runOf(folder: string): Promise<RunFolder | null> {
  const [listing] = await listRuns(folder);
  return listing ? RunFolder.open(listing.path) : null;
}

/**
 * The value of a metric within a budget: the best one, or the last.
 *
 * @throws DataError where it is nowhere, or no number
 */
export function metricOf(
  lines: readonly MetricsLine[],
  {
    metric,
    mode,
    value,
    budget,
    from,
  }: Pick<TuneFile, 'metric' | 'mode' | 'value'> & { budget: number; from: string },
): number {
  const within = lines.filter((line) => line.step <= budget && metric in line);
  if (within.length === 0) {
    const known = [...new Set(lines.flatMap((line) => Object.keys(line)))].filter((key) => key !== 'step');
    throw new DataError(
      `expected the metric '${metric}' up to step ${budget} in ${from}, got ${known.join(', ') || 'nothing'}`,
    );
  }
  const values = within.map((line) => line[metric]).filter((x): x is number => typeof x === 'number');
  if (values.length === 0) throw new DataError(`expected numbers of '${metric}' in ${from}, got none`);
  return value === 'last' ? values[values.length - 1] : values.reduce((a, b) => Math[mode](a, b));
}

function environmentOf(
  { fields, threads }: CommandTrialOptions,
  settings: Readonly<Record<string, Json>>,
): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env };
  for (const { name, variable } of fields) {
    if (name in settings || name === 'epochs') delete environment[variable];
  }
  if (threads !== undefined) environment.DAWNGRAD_THREADS ??= String(threads);
  return environment;
}

interface Start extends Pick<CommandTrialOptions, 'program' | 'kill'> {
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/**
 * Runs a command to its end. It has a process group of its own, so that Ctrl-C reaches it once, from here, and a channel to
 * this process: when that closes, because this process was killed, the command ends too (src/cli/main.ts).
 */
function start(
  args: readonly string[],
  folder: string,
  { program, environment, signal, kill }: Start,
): Promise<void> {
  const log = openSync(join(folder, LOG), 'a');
  const begin = fstatSync(log).size;
  return new Promise<void>((resolve, reject) => {
    const child = spawn(program[0], [...program.slice(1), ...args], {
      env: environment,
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    const interrupt = (): void => void child.kill('SIGINT');
    const end = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', interrupt, { once: true });
    kill?.addEventListener('abort', end, { once: true });
    if (signal.aborted) interrupt();
    child.once('error', reject);
    child.once('close', (code, killed) => {
      signal.removeEventListener('abort', interrupt);
      kill?.removeEventListener('abort', end);
      if (code === 0) resolve();
      else
        reject(
          new DataError(reasonIn(join(folder, LOG), begin) ?? `ended by ${killed ?? `exit status ${code}`}`),
        );
    });
  }).finally(() => closeSync(log));
}

/** What the command said was wrong: its last line that begins with its name. */
function reasonIn(path: string, begin: number): string | null {
  const lines = readFileSync(path).subarray(begin).toString('utf8').split('\n');
  return (
    lines.findLast((line) => /^(dawngrad|error|\w*Error): /.test(line))?.replace(/^(dawngrad|error): /, '') ??
    null
  );
}
