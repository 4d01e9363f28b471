/** `npm run recipe:spaghettinet`: tangled sparse networks against dense ones. README.md tells more. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { addConfigOptions, givenSettings, SETTINGS_HELP } from '../../src/cli/config-options.js';
import { runProgram } from '../../src/cli/run-program.js';
import { writeFileAtomic } from '../../src/data/atomic-file.js';
import { DataError, type Device, type nn, openDevice } from '../../src/index.js';
import { defineConfig, whole } from '../../src/train/config.js';
import { DATASETS, loadDataset, Missing } from './data.js';
import { cutCurvesSvg, graphSvg } from './draw.js';
import {
  type DatasetResult,
  interval,
  percent,
  release,
  runDataset,
  type Settings,
  SHARES,
  tolerance,
  train,
} from './experiment.js';
import { KINDS } from './models.js';
import { type StepTime, timeKinds, timeWidths } from './timing.js';

const CONFIG = defineConfig('spaghettinet', {
  datasets: [
    z
      .array(z.enum(DATASETS))
      .min(1)
      .default([...DATASETS]),
    'names',
    `of ${DATASETS.join(', ')}`,
  ],
  kinds: [
    z
      .array(z.enum(KINDS))
      .min(1)
      .default([...KINDS]),
    'names',
    'networks to compare the first of them with',
  ],
  seeds: [
    whole(2).default(5),
    'n',
    'how many seeds: each has data, wiring, first weights and batches of its own',
  ],
  seed: [whole(0).default(1), 'n', 'the first of them; the same one repeats the same numbers'],
  units: [whole(2).default(64), 'n', 'units of the spaghetti layer'],
  wiresPerUnit: [whole(1).default(6), 'n', 'wires from units to each unit'],
  propagation: [whole(0).default(4), 'n', 'how often signals travel along the wires'],
  steps: [whole(1).default(500), 'n', 'optimizer steps'],
  batchSize: [whole(1).default(64), 'n', 'examples per step'],
  rates: [
    z.array(z.coerce.number().positive()).min(1).default([0.003, 0.01, 0.03]),
    'x',
    'learning rates to choose from, on a seed of its own',
  ],
  cuts: [whole(1).default(3), 'n', 'random cuts per share of wires and network'],
  titanic: [
    z.string().default('../shared/data/titanic.csv'),
    'file',
    "Kaggle's passengers of the Titanic, with the column Survived",
  ],
  fashion: [
    z.string().nullable().default(null),
    'folder',
    "Fashion-MNIST's four files; by default where Debian's package puts them",
  ],
  device: [
    z.enum(['auto', 'webgpu', 'cpu']).default('cpu'),
    'kind',
    'auto, webgpu or cpu: these networks are too small to gain from a GPU',
  ],
  adapter: [
    z.string().nullable().default(null),
    'name',
    "WebGPU adapter: part of its name, or 'swiftshader', 'lavapipe', 'software'",
  ],
});

/** Made in a few minutes: the data sets in the plane and passengers, few steps. */
const QUICK = { datasets: ['moons', 'titanic'], seeds: 3, steps: 300, rates: [0.01], cuts: 2 };

const program = new Command('recipe:spaghettinet')
  .description(
    'wire units like tangled spaghetti, and compare them with dense networks of as many parameters and of the same width',
  )
  .option('--quick', 'two data sets, three seeds, fewer steps: minutes')
  .option('--timing', 'only count the operations of a training step and take its time')
  .option('--out <folder>', 'where results and pictures go', 'runs/spaghettinet');
addConfigOptions(program, CONFIG)
  .addHelpText(
    'after',
    `
${SETTINGS_HELP}

Examples:
  $ npm run recipe:spaghettinet
  $ npm run recipe:spaghettinet -- --quick
  $ npm run recipe:spaghettinet -- --datasets spirals --units 128 --seeds 5
  $ npm run recipe:spaghettinet -- --timing`,
  )
  .showHelpAfterError('(--help shows what is possible)')
  .action(start);

await runProgram(program, 'recipe:spaghettinet');

interface Flags extends Record<string, unknown> {
  readonly quick?: boolean;
  readonly timing?: boolean;
  readonly out: string;
  readonly config?: string;
}

async function start(flags: Flags): Promise<void> {
  const config = await CONFIG.read({
    file: flags.config,
    environment: process.env,
    flags: { ...(flags.quick ? QUICK : {}), ...givenSettings(flags, CONFIG) },
  });
  const device = await openDevice({ device: config.device, adapter: config.adapter ?? undefined });
  try {
    if (flags.timing) await timing(config, device);
    else await compare(config, device, flags.out);
  } finally {
    await device.close();
  }
}

async function compare(
  config: Settings & { readonly device: string },
  device: Device,
  out: string,
): Promise<void> {
  console.log(`Device     ${device.info.name}`);
  console.log(
    `Spaghetti  ${config.units} units, ${config.wiresPerUnit} wires to each, ${config.propagation} steps along them`,
  );
  console.log(
    `Training   ${config.steps.toLocaleString('en')} steps of ${config.batchSize} examples, ${config.seeds} seeds from ${config.seed}`,
  );
  try {
    await mkdir(out, { recursive: true });
  } catch (cause) {
    throw new DataError(`spaghettinet: cannot make the folder ${out}: ${(cause as Error).message}`, {
      cause,
    });
  }
  const leave = async (file: string, text: string): Promise<void> => {
    try {
      await writeFileAtomic(join(out, file), [text]);
    } catch (cause) {
      throw new DataError(`spaghettinet: cannot write ${join(out, file)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  };
  const results: DatasetResult[] = [];
  const skipped: { name: string; reason: string }[] = [];
  for (const name of config.datasets) {
    console.log('');
    try {
      await loadDataset(name, config.seed, config);
    } catch (e) {
      if (!(e instanceof Missing)) throw e;
      console.log(`${name}: skipped, ${e.message}`);
      skipped.push({ name, reason: e.message });
      continue;
    }
    console.log(`${name}: % of test examples right, mean and 95 % interval over seeds`);
    const result = await runDataset(name, config, device, console.log);
    results.push(result);
    console.log(`  ${'the most frequent class'.padEnd(27)}${''.padStart(18)}  ${percent(result.majority)} %`);
    await leave(`cut-${name}.svg`, cutCurvesSvg(result));
  }
  console.log('');
  console.log(report(results));
  await leave('result.json', `${JSON.stringify({ config, results, skipped }, null, 1)}\n`);
  const first = results[0];
  const drawn = first?.kinds.find(({ kind }) => kind === 'spaghetti');
  if (drawn) {
    const set = await loadDataset(first.name, config.seed, config);
    const { net } = await train('spaghetti', set, config, config.seed, drawn.rate, device);
    const title = `A spaghetti layer that has learned ${first.name}`;
    await leave('graph.svg', await graphSvg(net.model as nn.SpaghettiNet, title));
    release(net);
  }
  console.log(`\nLeft in ${out}: result.json, graph.svg, cut-….svg`);
}

/** Tables in Markdown. */
function report(results: readonly DatasetResult[]): string {
  const lines: string[] = [];
  const pm = (values: readonly number[]): string => {
    const { mean, half } = interval(values);
    return `${percent(mean)} ± ${percent(half)}`;
  };
  for (const { name, kinds } of results) {
    const [base] = kinds;
    lines.push(
      `### ${name}`,
      '',
      `| network | parameters | wires | operations | right, % | ${base.kind} ahead by | 20 % cut | 50 % cut | cut until −5 points |`,
      '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
      ...kinds.map((k) => {
        const ahead = pm(base.accuracy.map((a, i) => a - k.accuracy[i]));
        const at = (share: (typeof SHARES)[number]) => pm(k.cut[SHARES.indexOf(share)]);
        return `| ${k.kind} | ${[k.parameters, k.wires, k.operations].map((n) => n.toLocaleString('en')).join(' | ')} | ${pm(k.accuracy)} | ${k === base ? '' : ahead} | ${at(0.2)} | ${at(0.5)} | ${percent(tolerance(k))} % |`;
      }),
      '',
    );
  }
  return lines.join('\n').trimEnd();
}

async function timing(config: Settings, device: Device): Promise<void> {
  console.log(
    `Device ${device.info.name}. A training step: forward, backward, AdamW; the median of 30 (10 of the wide ones), in ms.\n`,
  );
  const print = (rows: readonly StepTime[]): void => {
    console.log('| network | wires | operations forward | ms per step |');
    console.log('|---|---:|---:|---:|');
    for (const { name, wires, operations, ms } of rows) {
      console.log(
        `| ${name} | ${wires.toLocaleString('en')} | ${operations.toLocaleString('en')} | ${ms.toFixed(2)} |`,
      );
    }
    console.log('');
  };
  console.log(`The networks of the comparison, 2 inputs, 3 classes, batch ${config.batchSize}:\n`);
  print(await timeKinds(config, config.batchSize, [2, 3], device));
  console.log('One sparse layer of 8 wires per unit against one dense layer of the same width, batch 128:\n');
  print(await timeWidths([256, 1024, 4096], 8, 128, device));
}
