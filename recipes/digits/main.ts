/** `npm run recipe:digits`: a Transformer that learns to reverse or sort strings of digits. README.md tells more. */
import { Command, Option } from 'commander';
import { integer, number } from '../../src/cli/options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { type Device, openDevice } from '../../src/index.js';
import { formatDuration, Progress, RunFolder } from '../../src/node.js';
import { type Answer, DEFAULTS, type DigitsConfig, exactShare, prepareDigits, QUICK } from './job.js';
import { isHeldOut, TASKS } from './task.js';

interface Flags extends Partial<DigitsConfig> {
  out: string;
  quick?: boolean;
  resume?: string;
  beams?: number;
}

const program = new Command('recipe:digits')
  .description(
    'train a Transformer to reverse or sort strings of digits, and test it on strings it has never seen',
  )
  .addOption(new Option('--task <name>', 'what to write after reading a string').choices(Object.keys(TASKS)))
  .option('--quick', 'a small model that copies up to three digits: seconds instead of minutes')
  .option('--min-length <n>', 'shortest string, in digits', integer(1))
  .option('--max-length <n>', 'longest string, in digits', integer(1))
  .option('--steps <n>', 'optimizer steps', integer(1))
  .option('--batch-size <n>', 'strings per step', integer(1))
  .option('--dim <n>', 'width of the model', integer(2))
  .option('--heads <n>', 'attention heads', integer(1))
  .option('--layers <n>', 'layers of the encoder, and as many of the decoder', integer(1))
  .option('--dropout <p>', 'share of activations dropped in training', number(0, 0.99))
  .addOption(new Option('--norm <where>', 'norms before or after each branch').choices(['pre', 'post']))
  .option('--label-smoothing <x>', 'share of the target spread over all tokens', number(0, 0.99))
  .option('--lr <x>', 'highest learning rate', number(0))
  .option('--warmup <n>', 'steps until it is reached', integer(1))
  .option('--evaluate-every <n>', 'steps between evaluations and checkpoints', integer(1))
  .option('--test <n>', 'held-out strings to be tested on', integer(1))
  .option('--beams <n>', 'decode with a beam as well, at the end', integer(1))
  .option('--seed <n>', 'the same seed repeats the same run', integer(0))
  .option('--device <kind>', 'auto, webgpu or cpu')
  .option('--adapter <name>', "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'")
  .option('--out <folder>', 'where run folders go', 'runs')
  .option('--resume <run>', 'continue a run folder')
  .addHelpText(
    'after',
    `
Ctrl-C saves and stops.

Examples:
  $ npm run recipe:digits
  $ npm run recipe:digits -- --task sort --beams 4
  $ npm run recipe:digits -- --quick`,
  )
  .showHelpAfterError('(--help shows what is possible)')
  .action(start);

await runProgram(program, 'recipe:digits');

async function start({ out, quick, resume, beams, ...given }: Flags): Promise<void> {
  const old = resume === undefined ? null : await RunFolder.open<DigitsConfig>(resume);
  const config: DigitsConfig = { ...(old?.config ?? (quick ? QUICK : DEFAULTS)), ...given };
  const device = await openDevice({
    device: config.device as 'auto',
    adapter: config.adapter ?? undefined,
  });
  try {
    await work(config, device, out, old, beams);
  } finally {
    await device.close();
  }
}

async function work(
  config: DigitsConfig,
  device: Device,
  out: string,
  old: RunFolder | null,
  beams: number | undefined,
): Promise<void> {
  const started = performance.now();
  const n = (x: number): string => x.toLocaleString('en');
  const controller = new AbortController();
  let progress: Progress | null = null;
  const job = prepareDigits(config, device, {
    signal: controller.signal,
    onProgress: (update) => progress?.update(update),
    onEvaluate: async ({ step, validation }) => {
      const [{ digits, written, right }] = await job.answer(job.test.slice(0, 1));
      const verdict = written === right ? 'right' : `wrong: ${right}`;
      progress?.log(
        `step ${step}: held-out loss ${validation.toFixed(4)}; ${digits} → ${written} (${verdict})`,
      );
    },
  });
  console.log(`Device     ${device.info.name}`);
  console.log(`Task       ${config.task} strings of ${config.minLength} to ${config.maxLength} digits`);
  console.log(
    `Model      Transformer, ${n(job.model.numParameters())} parameters: ${config.layers} + ${config.layers} layers, width ${config.dim}, ${config.heads} heads`,
  );
  console.log(
    `Training   ${n(config.steps)} steps of ${config.batchSize} strings, seed ${config.seed}; one string in ten is held out`,
  );
  const run = old ?? (await RunFolder.create(out, `digits-${config.task}`, config));
  job.trainer.attach(run);
  if (old) await job.trainer.resume();
  console.log(`Run folder ${run.path}${old ? `, from step ${job.trainer.step} on` : ''}`);
  console.log('');

  const onInterrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    controller.abort();
  };
  process.on('SIGINT', onInterrupt);
  progress = new Progress({ total: config.steps, start: job.trainer.step });
  try {
    const result = await job.trainer.train();
    progress.stop();
    if (result.stopped === 'interrupted') {
      console.log(
        `Stopped at step ${result.step}. Go on with: npm run recipe:digits -- --resume ${run.path}`,
      );
      return;
    }
    const answers = await job.answer(job.test);
    const exact = exactShare(answers);
    console.log('');
    console.log(report(`Greedy decoding`, answers));
    let beam: number | null = null;
    if (beams !== undefined) {
      const found = await job.answer(job.test, beams);
      beam = exactShare(found);
      console.log(report(`A beam of ${beams}`, found));
    }
    for (const { digits, written, right } of wrong(answers).slice(0, 5)) {
      console.log(`  ${digits} → ${written}, not ${right}`);
    }
    const seconds = (performance.now() - started) / 1000;
    await run.writeJson('result.json', {
      step: result.step,
      validation: result.validation,
      tested: answers.length,
      unseen: answers.every(({ digits }) => isHeldOut(digits)),
      exact,
      beam,
      seconds,
    });
    console.log(`Took ${formatDuration(1000 * seconds)} in all. Left in ${run.path}:`);
    console.log('  config.json  metrics.jsonl  result.json  loss.svg  model.safetensors  last.safetensors');
  } finally {
    progress.stop();
    process.off('SIGINT', onInterrupt);
    run.close();
  }
}

function wrong(answers: readonly Answer[]): Answer[] {
  return answers.filter(({ written, right }) => written !== right);
}

function report(how: string, answers: readonly Answer[]): string {
  const right = answers.length - wrong(answers).length;
  const n = (x: number): string => x.toLocaleString('en');
  return `${how}: ${n(right)} of ${n(answers.length)} held-out strings right, ${(100 * exactShare(answers)).toFixed(2)} %`;
}
