/** `npm run recipe:oscars-smoke`: a random screenplay in, a probability out, and no issues. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { integer } from '../../src/cli/options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { type Device, openDevice } from '../../src/index.js';
import { Predictor, RunFolder } from '../../src/node.js';
import { prepareClassify } from '../../src/train/classify.js';
import { CLASSIFY } from '../../src/train/classify-config.js';
import { randomScreenplay } from './screenplay.js';
import { smokeCheck } from './smoke-check.js';

interface Flags {
  model?: string;
  seed: number;
  scenes: number;
  device: string;
  adapter?: string;
}

/** Of the tiny classifier, where no run is given: far from enough to learn much. */
const TINY = {
  vocabSize: 512,
  chunk: 64,
  dim: 16,
  heads: 2,
  layers: 1,
  steps: 12,
  batchSize: 8,
  lr: 3e-3,
  evaluateEvery: 12,
  predictTraining: false,
  twins: false,
  bootstrap: 20,
  baselines: ['prior'],
} as const;
const DOCUMENTS = 40;

const program = new Command('recipe:oscars-smoke')
  .description('judge a random screenplay by a classifier, in ways that must not matter')
  .option(
    '--model <run>',
    'run folder of dawngrad classify; default: a tiny classifier, trained here in seconds',
  )
  .option('--seed <n>', 'of the screenplay', integer(0), 1)
  .option('--scenes <n>', 'of the screenplay; 1,000 are longer than any of the data set', integer(0), 200)
  .option('--device <kind>', 'auto, webgpu or cpu', 'auto')
  .option('--adapter <name>', "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'")
  .action(smoke);

await runProgram(program, 'recipe:oscars-smoke');

async function smoke({ model, seed, scenes, device: kind, adapter }: Flags): Promise<void> {
  const text = randomScreenplay({ seed, scenes });
  const device = await openDevice({ device: kind as 'auto', adapter });
  const folder = await mkdtemp(join(tmpdir(), 'dawngrad-smoke-'));
  try {
    console.log(`Device       ${device.info.name}`);
    const run = model ?? (await trainTiny(folder, device));
    const predictor = await Predictor.open(run, device);
    const { config, threshold, runs } = predictor;
    const folds = runs.length > 1 ? `, ${runs.length} folds` : '';
    console.log(
      `Classifier   ${model ?? `trained for ${TINY.steps} steps on random screenplays`}: ${config.encoder}, ${runs[0].model.numParameters().toLocaleString('en')} parameters${folds}`,
    );
    const { prediction, issues } = await smokeCheck(predictor, text, await Predictor.open(run, device));
    const { tokens, tokensRead, chunks, probability, verdict } = prediction;
    const n = (x: number): string => x.toLocaleString('en');
    console.log(
      `Screenplay   ${n(text.length)} characters, ${n(tokens)} tokens${tokensRead < tokens ? `, ${n(tokensRead)} of them read` : ''}${chunks ? `, ${n(chunks.read)} chunks` : ''}`,
    );
    console.log(
      `Probability  ${probability.toFixed(6)}: ${verdict === 1 ? '' : 'not '}class 1 at a threshold of ${threshold.toFixed(4)}`,
    );
    for (const issue of issues) console.log(`ISSUE        ${issue}`);
    console.log(issues.length === 0 ? 'no issues' : `${issues.length} issues`);
    if (issues.length > 0) process.exitCode = 1;
  } finally {
    await device.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Trains as `dawngrad classify` does, and leaves a run in `folder`. */
async function trainTiny(folder: string, device: Device): Promise<string> {
  const data = join(folder, 'screenplays.jsonl');
  const lines = Array.from({ length: DOCUMENTS }, (_, i) => {
    const kind = i % 2 === 0 ? 0 : 1;
    const script_clean = randomScreenplay({ seed: 1000 + i, scenes: 2 + (i % 5), kind });
    return `${JSON.stringify({ movie_name: `untitled ${i}`, script_clean, nominated: kind })}\n`;
  });
  await writeFile(data, lines.join(''));
  // Nobody reads these texts again.
  process.env.DAWNGRAD_CACHE = join(folder, 'cache');
  const setup = await prepareClassify(CLASSIFY.parse({ ...TINY, data: [data] }, 'smoke.ts'), device);
  try {
    const job = await setup.openJob(setup.data.divisions[0]);
    const run = await RunFolder.create(folder, 'tiny', job.record());
    await job.begin(run);
    await job.finish(run, await job.trainer.train());
    run.close();
    job.release();
    return run.path;
  } finally {
    setup.close();
  }
}
