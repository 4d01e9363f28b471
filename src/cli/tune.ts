import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';
import { TRAIN } from '../train/char-lm-config.js';
import { CLASSIFY } from '../train/classify-config.js';
import { FINETUNE } from '../train/finetune-config.js';
import { listRuns, uniqueRunFolder } from '../train/run-folder.js';
import { type TuneResult, trialFolder, tune } from '../train/tune.js';
import { readTuneFile, type TuneCommands, type TuneFile, trialSettings } from '../train/tune-file.js';
import { formatMetric, formatTrials, tuneHtml } from '../train/tune-report.js';
import type { Json } from '../train/tune-space.js';
import { LOG, runTrial } from '../train/tune-trial.js';
import { integer } from './options.js';
import { TuneView } from './tune-view.js';

const COMMANDS: TuneCommands = { classify: CLASSIFY, train: TRAIN, finetune: FINETUNE };

/** The file of the search in its folder. */
const SPACE = 'space.json';
/** Trials in the table at the end. */
const SHOWN = 30;

interface Flags {
  out: string;
  name?: string;
  resume?: string;
  trials?: number;
  workers?: number;
  seed?: number;
}

/** `dawngrad tune`: hyper-parameter search over runs of another command. */
export function addTuneCommand(program: Command): void {
  program
    .command('tune')
    .description(
      'search for good settings of a command: random values, the better trials are trained on (ASHA)',
    )
    .argument('[space]', 'JSON file of the search; not with --resume')
    .option('--out <folder>', 'where the folder of the search goes', 'runs')
    .option('--name <name>', "its name; default: 'tune' and the command", nameOf)
    .option('--resume <folder>', 'go on with a search that was stopped or killed')
    .option('--trials <n>', "trials in all, in place of the file's", integer(1))
    .option('--workers <n>', "trials at the same time, in place of the file's", integer(1))
    .option('--seed <n>', "of the values, in place of the file's", integer(0))
    .addHelpText(
      'after',
      `
The file names a command, its fixed settings and a space of the others (uniform, logUniform, integer, logInteger, choice,
fixed; with step, and when for settings that others call for):
  { "command": "finetune",
    "settings": { "model": "scratch", "data": ["advice.jsonl"] },
    "space": { "lr": { "type": "logUniform", "min": 1e-4, "max": 1e-2 },
               "layers": { "type": "integer", "min": 1, "max": 4 } },
    "metric": "validation", "mode": "min", "value": "best",
    "budget": { "min": 50, "max": 450, "eta": 3 }, "trials": 27, "workers": 1, "seed": 0, "scheduler": "asha" }
The metric is one of metrics.jsonl; "value" says whether the best one within a trial's steps counts, or the last.
Commands: ${Object.keys(COMMANDS).join(', ')}. Ctrl-C saves the trials that run and stops.

The folder keeps ${SPACE}, tune.jsonl (every event), trials/ with a run and a ${LOG} each, and at the end tune.json, tune.html and
best.json, the best settings for --config.

Examples:
  $ dawngrad tune space.json --workers 2
  $ dawngrad tune --resume runs/tune-finetune
  $ dawngrad finetune --config runs/tune-finetune/best.json`,
    )
    .action(async (space: string | undefined, flags: Flags) => search(space, flags));
}

function nameOf(text: string): string {
  if (/[/\\]/.test(text)) throw new InvalidArgumentError('expected a name, no path: --out says where.');
  return text;
}

async function search(space: string | undefined, { out, name, resume, ...changes }: Flags): Promise<void> {
  if ((space === undefined) === (resume === undefined)) {
    throw new DataError('tune: expected the file of a search, or --resume with the folder of one');
  }
  if (resume === undefined) {
    const file = await readTuneFile(space!, COMMANDS, changes);
    const folder = await uniqueRunFolder(out, name ?? `tune-${file.command}`);
    await writeJson(join(folder, SPACE), file);
    await work(file, folder);
    return;
  }
  const { workers, ...fixed } = changes;
  const given = Object.keys({ ...fixed, ...(name === undefined ? {} : { name }) });
  if (given.length > 0)
    throw new DataError(
      `tune: expected only --workers beside --resume, got ${given.map((g) => `--${g}`).join(', ')}`,
    );
  const file = await readTuneFile(join(resume, SPACE), COMMANDS, workers === undefined ? {} : { workers });
  await work(file, resume);
}

async function work(file: TuneFile, folder: string): Promise<void> {
  const { command, space, metric, mode, value, settings, workers } = file;
  const stop = new AbortController();
  const kill = new AbortController();
  const view = new TuneView(file);
  const onInterrupt = (): void => {
    // A second Ctrl-C does not wait.
    if (stop.signal.aborted) {
      kill.abort();
      process.exit(130);
    }
    view.say('Stopping; running trials save first (Ctrl-C again to stop at once) …');
    stop.abort();
  };
  process.on('SIGINT', onInterrupt);
  console.log(`Search     ${folder}: ${file.trials} trials of dawngrad ${command}, ${workers} at a time`);
  const cores = availableParallelism();
  try {
    const result = await tune({
      ...file,
      folder,
      signal: stop.signal,
      identity: { command, settings, metric, value },
      objective: (params, context) =>
        runTrial(params as Record<string, Json>, context, {
          ...file,
          program: [process.execPath, ...process.execArgv, process.argv[1]],
          fields: COMMANDS[command].fields,
          threads: workers > 1 ? Math.max(1, Math.floor(cores / workers)) : undefined,
          kill: kill.signal,
        }),
      onEvent: (event, state) => view.update(event, state),
    });
    view.clear();
    await leave(file, folder, result);
    conclude({ space, metric, mode }, folder, result);
  } finally {
    view.clear();
    process.off('SIGINT', onInterrupt);
  }
}

/** Writes what was found. */
async function leave(file: TuneFile, folder: string, result: TuneResult): Promise<void> {
  const { command, metric, mode, value } = file;
  const { best, stopped, spent, budgets, trials } = result;
  const last = best?.results.at(-1);
  const runs = best ? await listRuns(trialFolder(folder, best.trial)) : [];
  await writeJson(join(folder, 'tune.json'), {
    command,
    metric,
    mode,
    value,
    stopped,
    spent,
    budgets,
    best: best &&
      last && {
        trial: best.trial,
        [metric]: last.value,
        steps: last.budget,
        params: best.params,
        run: runs.length > 0 ? relative(folder, runs[0].path) : null,
      },
    trials,
  });
  if (best)
    await writeJson(join(folder, 'best.json'), trialSettings(file, best.params as Record<string, Json>));
  const title = `Search over ${Object.keys(file.space).join(', ')}`;
  await writeFileAtomic(join(folder, 'tune.html'), [tuneHtml(file, result, title)]);
}

function conclude(
  facts: Pick<TuneFile, 'space' | 'metric' | 'mode'>,
  folder: string,
  result: TuneResult,
): void {
  const { best, trials, stopped, spent } = result;
  if (stopped === 'finished' && !best) {
    throw new DataError(
      `tune: all ${trials.length} trials failed, the first so: ${trials[0].failed}; see ${join(trialFolder(folder, 0), LOG)}`,
    );
  }
  console.log('');
  for (const line of formatTrials(facts, result, SHOWN)) console.log(line);
  console.log('');
  if (stopped === 'interrupted') {
    console.log('Stopped; everything is saved. Resume with:');
    console.log(`  npx dawngrad tune --resume ${folder}`);
    return;
  }
  const { value, budget } = best!.results[best!.results.length - 1];
  console.log(
    `Best: trial ${best!.trial}, ${facts.metric} ${formatMetric(value)} after ${budget} steps; ${spent.toLocaleString('en')} steps in all. Left in ${folder}:`,
  );
  console.log('  tune.html  tune.json  tune.jsonl  best.json (for --config)  trials/');
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, [`${JSON.stringify(value, undefined, 2)}\n`]);
}
