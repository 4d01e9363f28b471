import { basename, dirname } from 'node:path';
import type { Command } from 'commander';
import type { Device } from '../device/types.js';
import { openDevice } from '../tensor/default-device.js';
import { type CharLM, type CharLMConfig, prepareCharLM } from '../train/char-lm.js';
import { charLMConfig, configOfTrainRun, TRAIN } from '../train/char-lm-config.js';
import { Progress } from '../train/progress.js';
import { RunFolder } from '../train/run-folder.js';
import { LAST } from '../train/trainer.js';
import { addConfigOptions, givenSettings, SETTINGS_HELP } from './config-options.js';
import { stopAtOption } from './options.js';
import { openResumed } from './resume.js';

interface Flags extends Record<string, unknown> {
  config?: string;
  out: string;
  resume?: string | true;
  stopAt?: number;
}

/** `dawngrad train`: the main job. */
export function addTrainCommand(program: Command): void {
  const command = program
    .command('train')
    .description('train a character-level Transformer on a novel')
    .option('--out <folder>', 'where run folders go', 'runs')
    .option('--resume [run]', 'continue a run folder; without a name, the latest in --out')
    .addOption(stopAtOption());
  addConfigOptions(command, TRAIN)
    .addHelpText(
      'after',
      `
${SETTINGS_HELP} Ctrl-C saves and stops.

Examples:
  $ dawngrad train --text frankenstein.txt
  $ dawngrad train --device webgpu --adapter swiftshader --steps 100
  $ dawngrad train --config small.json --seed 2
  $ dawngrad train --resume`,
    )
    .action((flags: Flags) => train(flags));
}

async function train({ config: file, out, resume, stopAt, ...given }: Flags): Promise<void> {
  const flags = givenSettings(given, TRAIN);
  if (resume !== undefined)
    return resumeRun(out, resume, { ...flags, ...(file ? { config: file } : {}) }, stopAt);
  const settings = await TRAIN.read({ file, environment: process.env, flags });
  const device = await announceDevice(settings.device, settings.adapter);
  const config = charLMConfig(settings, device);
  await work(config, device, stopAt, async (job) => {
    const title = basename(job.novel.title)
      .replace(/\.[^.]*$/, '')
      .replace(/[^\p{L}\p{N}._ -]+/gu, '-');
    const run = await RunFolder.create(out, settings.name ?? (title.toLowerCase() || 'run'), {
      ...config,
      digest: job.novel.digest,
    });
    job.trainer.attach(run);
    console.log(`Run folder ${run.path}`);
    return run;
  });
}

async function resumeRun(
  out: string,
  which: string | true,
  given: Record<string, unknown>,
  stopAt?: number,
): Promise<void> {
  const { run, device: kind = 'auto', adapter } = await openResumed('train', out, which, given);
  const config = configOfTrainRun(run);
  const device = await announceDevice(kind === 'auto' ? config.device : kind, adapter ?? config.adapter);
  await work(config, device, stopAt, async (job) => {
    job.trainer.attach(run);
    await job.trainer.resume();
    console.log(`Resumed    ${run.path} at step ${job.trainer.step}`);
    return run;
  });
}

export async function announceDevice(kind: string, adapter: string | null): Promise<Device> {
  let fallback = '';
  const device = await openDevice({
    device: kind as 'auto',
    adapter: adapter ?? undefined,
    onFallback: (reason) => {
      fallback = reason;
    },
  });
  console.log(
    `Device     ${device.info.name}${fallback ? `, because there is no GPU here (${shorten(fallback)})` : ''}`,
  );
  return device;
}

function shorten(reason: string): string {
  return reason.replace(/^openWebGPU: /, '').split(';')[0];
}

/**
 * Prepares, trains, shows, saves. Everything that can be wrong with the text or the sizes is found before `openRun` makes
 * or changes a folder.
 */
async function work(
  config: CharLMConfig,
  device: Device,
  stopAt: number | undefined,
  openRun: (job: CharLM) => Promise<RunFolder>,
): Promise<void> {
  const controller = new AbortController();
  let progress: Progress | null = null;
  let run: RunFolder | null = null;
  const say = (line: string): void => (progress ? progress.log(line) : console.log(line));
  const onInterrupt = (): void => {
    // A second Ctrl-C does not wait.
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
    say('Stopping after this step (Ctrl-C again to stop at once, without saving) …');
  };
  process.on('SIGINT', onInterrupt);
  try {
    const job = prepareCharLM(config, device, {
      signal: controller.signal,
      stopAt,
      onProgress: (update) => progress?.update(update),
      onEvaluate: async ({ step, validation, best }) => {
        say(
          `step ${step}: validation loss ${validation.toFixed(4)} nats per character${best ? '' : ' (not the best)'}`,
        );
        if (config.sampleLength > 0) say(quote(job.prompt + (await job.sample(config.sampleLength))));
      },
    });
    describe(job, config);
    run = await openRun(job);
    console.log('');
    progress = new Progress({ total: config.steps, start: job.trainer.step });
    const result = await job.trainer.train();
    progress.stop();
    progress = null;
    await conclude(job, result, run, config);
  } finally {
    progress?.stop();
    process.off('SIGINT', onInterrupt);
    run?.close();
    await device.close();
  }
}

function describe(job: CharLM, config: CharLMConfig): void {
  const n = (x: number): string => x.toLocaleString('en');
  console.log(
    `Text       ${job.novel.title}: ${n(job.novel.text.length)} characters, ${job.vocabulary.size} different; ${n(job.trainTokens)} to learn from, ${n(job.validationTokens)} held out`,
  );
  console.log(
    `Model      Transformer, ${n(job.model.numParameters())} parameters: ${config.layers} layers, width ${config.dim}, ${config.heads} heads, context ${config.blockSize}`,
  );
  console.log(
    `Training   ${n(config.steps)} steps of ${config.batchSize} × ${config.blockSize} characters, seed ${config.seed}`,
  );
  console.log(
    `Baselines  unigram counts ${job.unigram.toFixed(4)}, bigram counts ${job.bigram.toFixed(4)} nats per character on the held-out text`,
  );
}

async function conclude(
  job: CharLM,
  result: Awaited<ReturnType<CharLM['trainer']['train']>>,
  run: RunFolder,
  config: CharLMConfig,
): Promise<void> {
  console.log('');
  if (result.stopped === 'interrupted') {
    console.log(`Stopped at step ${result.step} of ${config.steps}; everything is saved. Resume with:`);
    console.log(`  npx dawngrad train --out ${dirname(run.path)} --resume ${run.path}`);
    return;
  }
  let reading: Progress | null = null;
  const validation = await job.validate((done, total) => {
    reading ??= new Progress({ total, label: 'held-out text' });
    reading.update({ step: done });
  });
  (reading as Progress | null)?.stop();
  const row = (name: string, loss: number): string =>
    `  ${name.padEnd(18)} ${loss.toFixed(4)} nats per character   perplexity ${Math.exp(loss).toFixed(2)}`;
  console.log(`Held-out text, all ${job.validationTokens.toLocaleString('en')} characters:`);
  console.log(row('unigram counts', job.unigram));
  console.log(row('bigram counts', job.bigram));
  console.log(row('this model', validation));
  const gain = job.bigram - validation;
  console.log(
    `The model is ${Math.abs(gain).toFixed(2)} nats per character ${gain >= 0 ? 'below' : 'ABOVE'} the bigram baseline.`,
  );
  await run.writeJson('result.json', {
    step: result.step,
    stopped: result.stopped,
    validation,
    unigram: job.unigram,
    bigram: job.bigram,
    best: result.best,
    seconds: result.seconds,
  });
  console.log('');
  console.log(`${result.stopped === 'early stopping' ? 'Stopped early. ' : ''}Left in ${run.path}:`);
  console.log('  config.json  metrics.jsonl  result.json  loss.svg');
  console.log(`  model.safetensors (best weights)  ${LAST} (to resume from)`);
}

export function quote(text: string): string {
  return text
    .trim()
    .split('\n')
    .map((line) => `  | ${line}`)
    .join('\n');
}
