/** `dawngrad classify`: from labelled documents to a classifier, its figures and its predictions. */
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { CLASSIFY, type ClassifyConfig } from '../train/classify-config.js';
import { type ClassifySetup, prepareClassify, runName } from '../train/classify.js';
import type { ClassifyHooks, ClassifyJob } from '../train/classify-job.js';
import { checkResumable } from '../train/classify-record.js';
import { concludeFolds, foldsRecord, openFold } from '../train/classify-folds.js';
import type { Division } from '../train/classify-data.js';
import { readClassifyRun } from '../train/classifier-run.js';
import { LoadProgress } from '../train/load-progress.js';
import { Progress } from '../train/progress.js';
import { RunFolder } from '../train/run-folder.js';
import { describeEnd, describeFolds, describeJob, describeSetup, describeMemory } from './classify-text.js';
import { addConfigOptions, givenSettings, SETTINGS_HELP } from './config-options.js';
import { stopAtOption } from './options.js';
import { openResumed } from './resume.js';
import { announceDevice } from './train.js';

interface Flags extends Record<string, unknown> {
  config?: string;
  out: string;
  resume?: string | true;
  stopAt?: number;
  dryRun?: boolean;
}

/** `dawngrad classify`. */
export function addClassifyCommand(program: Command): void {
  const command = program
    .command('classify')
    .description('train a classifier of whole documents, chunk by chunk, and measure it beside baselines')
    .argument('[data...]', 'as --data: sotu, spam, files, folders')
    .option('--out <folder>', 'where run folders go', 'runs')
    .option('--resume [run]', 'continue a run folder bit for bit; without a name, the latest in --out')
    .addOption(stopAtOption())
    .option(
      '--dry-run',
      'show data, splits, model and the memory of a step; train nothing and write nothing',
    );
  addConfigOptions(command, CLASSIFY)
    .addHelpText(
      'after',
      `
${SETTINGS_HELP} Ctrl-C saves and stops.

The run folder keeps config.json, metrics.jsonl, loss.svg, model.safetensors (the weights of the best PR-AUC on validation),
tokenizer.json, predictions.jsonl, result.json and report.html; a cross-validation has such a folder for each fold.

Examples:
  $ dawngrad classify sotu --chunk 256 --epochs 10
  $ dawngrad classify plays --label genre --positive tragedy --folds 5
  $ dawngrad classify movies.parquet --oscars oscars.csv --label nominated --imbalance posWeight
  $ dawngrad classify mails.csv --text body --label spam --encoder gpt2 --base gpt2 --tune lora --dry-run
  $ dawngrad classify --resume runs/sotu-transformer`,
    )
    .action((data: string[], flags: Flags) => classify(data, flags));
}

async function classify(
  data: string[],
  { config: file, out, resume, stopAt, dryRun = false, ...given }: Flags,
): Promise<void> {
  if (data.length > 0 && given.data !== undefined) {
    throw new DataError(
      `classify: expected data by name or by --data, got both, ${data.join(', ')} and ${String(given.data)}`,
    );
  }
  const flags = givenSettings({ ...given, ...(data.length > 0 && { data }) }, CLASSIFY);
  if (resume !== undefined) {
    await resumeRun(out, resume, { ...flags, ...(file && { config: file }) }, { stopAt, dryRun });
    return;
  }
  const config = await CLASSIFY.read({ file, environment: process.env, flags });
  const device = await announceDevice(config.device, config.adapter);
  await work(config, device, {
    dryRun,
    stopAt,
    makeRun: (record) => RunFolder.create(out, runName(config), record),
  });
}

async function resumeRun(
  out: string,
  which: string | true,
  given: Record<string, unknown>,
  how: Pick<Work, 'dryRun' | 'stopAt'>,
): Promise<void> {
  const { run, device: kind, adapter } = await openResumed('classify DATA', out, which, given);
  const { config, record } = readClassifyRun(run);
  if (record.fold !== null) {
    throw new DataError(
      `classify: expected a whole run, got ${run.path}, a fold; resume all of them with: dawngrad classify --resume ${dirname(run.path)}`,
    );
  }
  const device = await announceDevice(kind ?? config.device, adapter ?? config.adapter);
  await work(config, device, { ...how, run });
}

interface Work {
  readonly dryRun: boolean;
  readonly stopAt?: number;
  /** The run to go on with. */
  readonly run?: RunFolder;
  makeRun?(record: Record<string, unknown>): Promise<RunFolder>;
}

/** Prepares, trains, measures, shows. What can be wrong is found before a folder is made. */
async function work(config: ClassifyConfig, device: Device, how: Work): Promise<void> {
  const controller = new AbortController();
  const screen = new Screen();
  const onInterrupt = (): void => {
    // A second Ctrl-C does not wait.
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    screen.say('Stopping after this step (Ctrl-C again to stop at once, without saving) …');
  };
  process.on('SIGINT', onInterrupt);
  let setup: ClassifySetup | null = null;
  try {
    setup = await prepareClassify(config, device, {
      ...screen.hooks,
      signal: controller.signal,
      stopAt: how.stopAt,
    });
    screen.stop();
    describeSetup(setup);
    // The first model shows what is wrong with it, before there is a folder.
    const [first] = setup.data.divisions;
    const job = await setup.openJob(first);
    screen.stop();
    describeJob(job);
    if (how.dryRun) {
      describeMemory(job, device);
      console.log('\nA dry run: nothing was trained, no run was made.');
      return;
    }
    if (how.run) checkResumable(how.run, setup.data);
    const record = config.folds > 0 ? foldsRecord(setup) : { ...job.record() };
    const run = how.run ?? (await how.makeRun!(record));
    if (config.folds > 0) await trainFolds(setup, job, run, screen);
    else await trainJob(job, run, how.run === undefined, screen, run);
  } finally {
    screen.stop();
    process.off('SIGINT', onInterrupt);
    setup?.close();
    await device.close();
  }
}

/** Trains the folds that have not finished; the first job is made already. */
async function trainFolds(
  setup: ClassifySetup,
  first: ClassifyJob,
  parent: RunFolder,
  screen: Screen,
): Promise<void> {
  console.log(`Run        ${parent.path}`);
  let made: ClassifyJob | null = first;
  for (const division of setup.data.divisions) {
    const open = async (): Promise<ClassifyJob> => made ?? (await setup.openJob(division));
    const { done, job } = await trainFold(division, parent, open, screen);
    for (const used of new Set([job, made])) used?.release();
    made = null;
    if (!done) return;
  }
  const result = await concludeFolds(setup, parent);
  describeFolds(result, parent);
}

async function trainFold(
  division: Division,
  parent: RunFolder,
  open: () => Promise<ClassifyJob>,
  screen: Screen,
): Promise<{ done: boolean; job: ClassifyJob | null }> {
  const label = `Fold ${division.fold}`;
  const existing = await openFold(parent, division, null);
  if (existing?.isFinished) {
    console.log(`\n${label}: finished before`);
    return { done: true, job: null };
  }
  const job = await open();
  const { run } = existing ?? (await openFold(parent, division, { ...job.record() }))!;
  console.log(`\n${label} of ${job.data.divisions.length}`);
  return { done: await trainJob(job, run, existing === null, screen, parent), job };
}

/** @param whole what to resume @returns whether it came to its end */
async function trainJob(
  job: ClassifyJob,
  run: RunFolder,
  isNew: boolean,
  screen: Screen,
  whole: RunFolder,
): Promise<boolean> {
  try {
    if (isNew) await job.begin(run);
    else await job.resume(run);
    console.log(isNew ? `Run        ${run.path}` : `Resumed    ${run.path} at step ${job.trainer.step}`);
    console.log('');
    screen.train(job);
    const result = await job.trainer.train();
    screen.stop();
    if (result.stopped === 'interrupted') {
      console.log(
        `\nStopped at step ${result.step} of ${job.settings.steps}; everything is saved. Resume with:\n` +
          `  npx dawngrad classify --out ${dirname(whole.path)} --resume ${whole.path}`,
      );
      return false;
    }
    const found = await job.finish(run, result);
    screen.stop();
    describeEnd(found, run);
    return true;
  } finally {
    run.close();
  }
}

/** One progress bar at a time, and lines above it. */
class Screen {
  private bar: { label: string; progress: Progress } | null = null;
  private readonly loading = new LoadProgress();

  readonly hooks: ClassifyHooks = {
    onLoad: (progress) => this.loading.update(progress),
    onData: (what, done, total) => this.step(what === 'tokens' ? 'tokenising' : 'comparing', done, total),
    onProgress: (update) => this.bar?.progress.update(update),
    onEvaluate: ({ step, validation, prAuc, rocAuc, best }) =>
      this.say(
        `step ${step}: validation PR-AUC ${prAuc.toFixed(4)}, ROC-AUC ${rocAuc.toFixed(4)}, loss ${validation.toFixed(4)}${best ? '' : ' (not the best)'}`,
      ),
    onPredict: (done, total) => this.step('judging', done, total),
    onBaseline: (name, done, total) => {
      if (done === 0) this.stop();
      else this.step(name, done, total);
    },
  };

  say(text: string): void {
    if (this.bar) this.bar.progress.log(text);
    else console.log(text);
  }

  train(job: ClassifyJob): void {
    this.stop();
    const progress = new Progress({ total: job.settings.steps, start: job.trainer.step });
    this.bar = { label: 'training', progress };
  }

  /** On a terminal only: what takes seconds needs no lines in a file. */
  private step(label: string, done: number, total: number): void {
    if (!process.stdout.isTTY) return;
    if (this.bar?.label !== label) {
      this.stop();
      this.bar = { label, progress: new Progress({ total, label }) };
    }
    this.bar.progress.update({ step: done });
  }

  stop(): void {
    this.loading.stop();
    this.bar?.progress.stop();
    this.bar = null;
  }
}
