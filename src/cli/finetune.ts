import { dirname } from 'node:path';
import type { Command } from 'commander';
import type { Device } from '../device/types.js';
import type { Finding } from '../train/finding.js';
import { configOfRun, type FinetuneJob, prepareFinetune, runName } from '../train/finetune.js';
import { FINETUNE, type FinetuneConfig } from '../train/finetune-config.js';
import type { Beginning, FinetuneResult, Sample, SampleStatistics } from '../train/finetune-types.js';
import { LoadProgress } from '../train/load-progress.js';
import { formatDuration, Progress } from '../train/progress.js';
import { RunFolder } from '../train/run-folder.js';
import { describeStart } from '../train/sanity.js';
import type { TrainResult } from '../train/trainer.js';
import { addConfigOptions, givenSettings, SETTINGS_HELP } from './config-options.js';
import { stopAtOption } from './options.js';
import { openResumed } from './resume.js';
import { announceDevice, quote } from './train.js';

interface Flags extends Record<string, unknown> {
  config?: string;
  out: string;
  resume?: string | true;
  stopAt?: number;
  dryRun?: boolean;
}

/** `dawngrad finetune`: a language model learns from questions and answers, or texts. */
export function addFinetuneCommand(program: Command): void {
  const command = program
    .command('finetune')
    .description('train a GPT-2 on questions and answers or texts: all of it, or a LoRA adapter')
    .option('--out <folder>', 'where run folders go', 'runs')
    .option('--resume [run]', 'continue a run folder bit for bit; without a name, the latest in --out')
    .addOption(stopAtOption())
    .option('--dry-run', 'check model, data, losses and gradients; train nothing and write nothing');
  addConfigOptions(command, FINETUNE)
    .addHelpText(
      'after',
      `
${SETTINGS_HELP} Ctrl-C saves and stops.

The run folder keeps config.json, metrics.jsonl, loss.svg, result.json, checkpoints, and model/ (Hugging Face's layout) or
adapter/ (PEFT's layout).

Examples:
  $ dawngrad finetune --model scratch --size nano --data advice.jsonl --steps 600
  $ dawngrad finetune --model runs/scratch-full --method lora --rank 4 --data plays/
  $ dawngrad finetune --model gpt2 --method qlora --data advice.jsonl --answers-only --epochs 2 --dry-run
  $ dawngrad finetune --resume runs/gpt2-lora`,
    )
    .action((flags: Flags) => finetune(flags));
}

async function finetune({
  config: file,
  out,
  resume,
  stopAt,
  dryRun = false,
  ...given
}: Flags): Promise<void> {
  const flags = givenSettings(given, FINETUNE);
  if (resume !== undefined)
    return resumeRun(out, resume, { ...flags, ...(file ? { config: file } : {}) }, { stopAt, dryRun });
  const config = await FINETUNE.read({ file, environment: process.env, flags });
  const device = await announceDevice(config.device, config.adapter);
  await work(config, device, {
    dryRun,
    stopAt,
    openRun: (job) => RunFolder.create(out, runName(config), job.record()),
  });
}

async function resumeRun(
  out: string,
  which: string | true,
  given: Record<string, unknown>,
  how: Pick<Work, 'dryRun' | 'stopAt'>,
): Promise<void> {
  const { run, device: kind, adapter } = await openResumed('finetune', out, which, given);
  const config = configOfRun(run);
  const device = await announceDevice(kind ?? config.device, adapter ?? config.adapter);
  await work(config, device, { ...how, run });
}

interface Work {
  readonly dryRun: boolean;
  readonly stopAt?: number;
  /** The run to go on with. */
  readonly run?: RunFolder;
  openRun?(job: FinetuneJob): Promise<RunFolder>;
}

/** Prepares, checks, trains, shows, saves. What can be wrong is found before a folder is made. */
async function work(
  config: FinetuneConfig,
  device: Device,
  { dryRun, stopAt, run: old, openRun }: Work,
): Promise<void> {
  const controller = new AbortController();
  let progress: Progress | null = null;
  let run: RunFolder | null = null;
  const say = (text: string): void => (progress ? progress.log(text) : console.log(text));
  const onInterrupt = (): void => {
    // A second Ctrl-C does not wait.
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    say('Stopping after this step (Ctrl-C again to stop at once, without saving) …');
  };
  process.on('SIGINT', onInterrupt);
  const loading = new LoadProgress();
  try {
    const job = await prepareFinetune(config, device, {
      signal: controller.signal,
      stopAt,
      onProgress: (update) => progress?.update(update),
      onEvaluate: ({ step, validation, best }) =>
        say(
          `step ${step}: held-out loss ${validation.toFixed(4)} nats per token${best ? '' : ' (not the best)'}`,
        ),
      onFinding: (finding) => say(remark(finding)),
      onLoad: loading.update,
    }).finally(() => loading.stop());
    describe(job);
    let beginning: Beginning | null = null;
    if (old && !dryRun) {
      beginning = await job.resume(old);
      run = old;
      console.log(`Resumed    ${run.path} at step ${job.trainer.step}`);
    }
    if (!beginning) {
      const checked = await job.check();
      console.log(line('Sanity', describeStart(job.startFacts(checked))));
      for (const finding of checked.findings) console.log(remark(finding));
      if (checked.findings.length === 0)
        console.log(line('', 'tokens, vocabulary, start and gradients are as they should be'));
      if (dryRun) {
        console.log('\nA dry run: nothing was trained, nothing was written.');
        return;
      }
      run ??= await openRun!(job);
      if (!old) console.log(line('Run', run.path));
      beginning = { ...checked, ...(await job.sample()) };
      show('before training', beginning.samples);
      await job.begin(run, beginning);
    }
    console.log('');
    progress = new Progress({ total: job.settings.steps, start: job.trainer.step });
    const result = await job.train(beginning);
    progress.stop();
    progress = null;
    await conclude(job, run!, result, beginning);
  } finally {
    (progress as Progress | null)?.stop();
    process.off('SIGINT', onInterrupt);
    run?.close();
    await device.close();
  }
}

const n = (x: number): string => x.toLocaleString('en');
const percent = (x: number): string => `${(100 * x).toPrecision(3)} %`;
const line = (label: string, text: string): string => `${label.padEnd(10)} ${text}`;

function remark({ severity, message }: Finding): string {
  return line({ error: 'ERROR', warning: 'WARNING', note: 'Note' }[severity], message);
}

function describe(job: FinetuneJob): void {
  const { config, settings, data, tokens, tokenizer, model, parameters, heldOut } = job;
  const { layers, dim, heads, contextLength, vocabSize } = model.shape;
  const part = (p: typeof data.train): string =>
    [p.pairs.length && `${n(p.pairs.length)} answers`, p.documents.length && `${n(p.documents.length)} texts`]
      .filter(Boolean)
      .join(', ');
  const base = config.method === 'qlora' ? `, base in ${config.scheme}` : '';
  console.log(
    line(
      'Model',
      `${config.model}: ${n(parameters.total)} parameters${base}, ${(parameters.bytes / 1e6).toFixed(1)} MB; ${layers} layers, width ${dim}, ${heads} heads, context ${contextLength}, vocabulary ${n(vocabSize)}`,
    ),
  );
  console.log(
    line(
      'Training',
      `${config.method}: ${n(parameters.trainable)} parameters (${percent(parameters.share)})${config.method === 'full' ? '' : `, rank ${config.rank}, alpha ${config.alpha}, in ${config.targets.join(', ')}`}`,
    ),
  );
  const counted = tokens.mask.reduce((sum, m) => sum + m, 0);
  console.log(
    line(
      'Data',
      `${part(data.train)} to learn from, ${part(data.validation)} held out${data.test.pairs.length ? `, ${part(data.test)} for the end` : ''}`,
    ),
  );
  console.log(
    line(
      'Tokens',
      `${n(tokens.ids.length)} to learn from, ${counted === tokens.ids.length ? 'all of which count' : `${n(counted)} of which count`}; ${heldOut.map(({ name, measured }) => `${n(measured.tokens)} measured (${name})`).join(', ')}; tokenizer of ${n(tokenizer.size)}`,
    ),
  );
  console.log(
    line(
      'Steps',
      `${n(settings.steps)} of ${config.accumulate > 1 ? `${config.accumulate} × ` : ''}${config.batchSize} × ${settings.blockSize} tokens, ${settings.epochs.toPrecision(3)} epochs, learning rate ${settings.lr}, seed ${config.seed}`,
    ),
  );
  if (config.sampleLength > 0 && job.prompts.length === 0) {
    console.log(
      line('Samples', 'none: no held-out question or text fits the context; give --sample-prompts'),
    );
  }
  for (const { name, unigram, bigram } of heldOut) {
    console.log(
      line(
        'Baselines',
        `${name}: uniform ${Math.log(vocabSize).toFixed(4)}, unigram ${unigram.toFixed(4)}, bigram ${bigram.toFixed(4)} nats per token`,
      ),
    );
  }
}

function show(when: string, samples: readonly Sample[]): void {
  for (const { prompt, text } of samples) {
    console.log(`\nSample ${when}:`);
    console.log(quote(`${prompt}»${text}`));
  }
}

async function conclude(
  job: FinetuneJob,
  run: RunFolder,
  result: TrainResult,
  beginning: Beginning,
): Promise<void> {
  console.log('');
  if (result.stopped === 'interrupted') {
    console.log(`Stopped at step ${result.step} of ${job.settings.steps}; everything is saved. Resume with:`);
    console.log(`  npx dawngrad finetune --out ${dirname(run.path)} --resume ${run.path}`);
    return;
  }
  const out = await job.finish(run, result, beginning);
  show('after training', out.samples.after);
  const row = (name: string, nats: number): string =>
    `  ${name.padEnd(18)} ${nats.toFixed(4)} nats per token   perplexity ${Math.exp(nats).toFixed(2)}`;
  for (const part of out.heldOut) {
    console.log(`\nHeld-out text (${part.name}), ${n(part.tokens)} tokens:`);
    console.log(row('uniform (ln V)', part.uniform));
    console.log(row('unigram counts', part.unigram));
    console.log(row('bigram counts', part.bigram));
    if (part.before !== null) console.log(row('before training', part.before));
    console.log(`${row('this model', part.after)}   ${part.bitsPerCharacter.toFixed(3)} bits per character`);
    const gain = part.bigram - part.after;
    console.log(
      `The model is ${Math.abs(gain).toFixed(2)} nats per token ${gain >= 0 ? 'below' : 'ABOVE'} the bigram baseline.`,
    );
  }
  varieties(out);
  console.log('');
  const how = result.stopped === 'early stopping' ? 'stopped early' : 'trained';
  console.log(
    `${n(result.step)} steps, ${how} in ${formatDuration(1000 * result.seconds)}; best at step ${result.best.step}. Left in ${run.path}:`,
  );
  const saved = job.config.method === 'full' ? 'model/' : 'adapter/';
  console.log(`  ${saved}  config.json  metrics.jsonl  result.json  loss.svg  checkpoints`);
  console.log(`Write with it: npx dawngrad generate --model ${run.path} --prompt "…"`);
}

function varieties({ statistics: { before, after } }: FinetuneResult): void {
  const row = (name: string, s: SampleStatistics): string =>
    `  ${name.padEnd(18)} distinct-1 ${s.distinct1.toFixed(3)}, distinct-2 ${s.distinct2.toFixed(3)}, ${s.meanTokens.toFixed(1)} tokens (${s.minTokens} to ${s.maxTokens})`;
  if (!after) return;
  console.log('\nSamples:');
  if (before) console.log(row('before training', before));
  console.log(row('after training', after));
}
