/** `npm run bench -- COMMAND`: what the commands are is in bench/README.md. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { number } from '../src/cli/options.js';
import { runProgram } from '../src/cli/run-program.js';
import { open } from '../src/device/open.js';
import { listAdapters } from '../src/device/webgpu/adapter.js';
import { setDefaultDevice } from '../src/index.js';
import { benchChunks } from './chunk-memory.js';
import { benchDecode } from './decode.js';
import { benchDispatch } from './dispatch.js';
import { benchOps } from './ops.js';
import type { Options } from './options.js';
import { benchPeers } from './peers/main.js';
import { machine, record } from './report.js';
import { benchCold, benchSteps } from './steps.js';

interface Choice {
  readonly device: 'cpu' | 'webgpu';
  readonly adapter?: string;
}

type Table = 'ops' | 'steps' | 'decode' | 'chunks' | 'dispatch';

/** What to measure on: what was asked for, else the CPU device and every adapter. */
async function choices({ device, adapter }: Options): Promise<Choice[]> {
  if (adapter) return [{ device: 'webgpu', adapter }];
  const all: Choice[] = [];
  if (device !== 'webgpu') all.push({ device: 'cpu' });
  if (device !== 'cpu') {
    for (const { selector } of await listAdapters()) all.push({ device: 'webgpu', adapter: selector });
  }
  return all;
}

function regex(text: string): RegExp {
  try {
    return new RegExp(text, 'i');
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** Prints tables for every device. */
async function tables(wanted: readonly Table[], options: Options): Promise<void> {
  console.log(`dawngrad bench · Node ${process.version} · ${machine()}`);
  for (const choice of await choices(options)) {
    if (choice.device === 'cpu' && wanted.every((name) => name === 'dispatch')) continue;
    const device = await open(choice);
    setDefaultDevice(device);
    console.log(`\n━━ ${device.info.name}\n   ${device.info.features.join(', ')}`);
    const results: Record<string, unknown> = { features: device.info.features, limits: device.info.limits };
    if (wanted.includes('ops')) results.ops = await benchOps(device, options);
    if (wanted.includes('steps')) {
      results.steps = await benchSteps(device, options);
      if (options.cold) results.cold = await benchCold(choice.device, choice.adapter, options);
    }
    if (wanted.includes('decode')) results.decode = await benchDecode(device, options);
    if (wanted.includes('chunks')) results.chunks = await benchChunks(device, options);
    if (wanted.includes('dispatch') && choice.device === 'webgpu') {
      results.dispatch = await benchDispatch(choice.adapter!, options.seconds < 0.02);
    }
    await device.close();
    record(options, wanted.length > 1 ? 'bench' : wanted[0], results, device.info.name);
  }
}

/** Runs a kernel laboratory: bench/lab/NAME/main.ts, with all further arguments. */
function lab(name: string | undefined, args: readonly string[]): void {
  const folder = fileURLToPath(new URL('lab', import.meta.url));
  const names = existsSync(folder) ? readdirSync(folder) : [];
  if (name === undefined || !names.includes(name)) {
    console.log(`Kernel laboratories: ${names.join(', ') || 'none'}\nnpm run bench -- lab NAME [options]`);
    if (name !== undefined) process.exitCode = 1;
    return;
  }
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', `${folder}/${name}/main.ts`, ...args], {
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}

const program = new Command('npm run bench --').description(
  'Measures dawngrad: operations, training steps, the cost of a dispatch, and other engines beside it.\nWithout a command: ops, steps and dispatch.',
);

function command(name: string, description: string, isDefault = false): Command {
  return program
    .command(name, { isDefault })
    .description(description)
    .addOption(new Option('--device <kind>', 'only this kind of device').choices(['cpu', 'webgpu']))
    .option('--adapter <name>', 'WebGPU adapter: swiftshader, lavapipe, or part of a name')
    .option('--only <regex>', 'only rows whose name matches', regex)
    .option('--json [file]', 'keep the results; without a file in bench/results, by time and device')
    .option('--large', 'also shapes and models that take long without a GPU');
}

const seconds = (name: string, value: number): [string, string, (text: string) => number, number] => [
  '--seconds <n>',
  name,
  number(0.001, 3600),
  value,
];

command('all', 'ops, steps and dispatch', true)
  .option(...seconds('time for each measurement', 0.5))
  .option('--cold', 'also first steps in new processes, with an empty cache of shaders')
  .action((options: Options) => tables(['ops', 'steps', 'dispatch'], options));
command('ops', 'operations as GFLOP/s or GB/s, and as shares of measured ceilings')
  .option(...seconds('time for each operation', 0.5))
  .action((options: Options) => tables(['ops'], options));
command('steps', 'whole training steps, eager and captured')
  .option(...seconds('half the time for each step', 0.5))
  .option('--cold', 'also first steps in new processes, with an empty cache of shaders')
  .action((options: Options) => tables(['steps'], options));
command('decode', 'tokens per second of GPT-2 with a cache, at 1, 128 and 900 tokens of context')
  .option(...seconds('time for each context', 2))
  .action((options: Options) => tables(['decode'], options));
command('chunks', 'memory of a training step by the length of a document, measured and by dry run')
  .option(...seconds('not used: every step is run twice', 0.5))
  .action((options: Options) => tables(['chunks'], options));
command('dispatch', 'CPU time per dispatch, and what an empty dispatch takes')
  .option(...seconds('less than 0.02 for a short run', 0.5))
  .action((options: Options) => tables(['dispatch'], options));
command('peers', 'other engines on the same adapter, interleaved, results compared first')
  .option(...seconds('time of a round', 0.1))
  .option('--rounds <n>', 'rounds of which the median counts', number(1, 1000))
  .option(
    '--quiet <minutes>',
    'for so long per row, repeat rounds in which the machine did something else, as a fixed loop before and after them tells',
    number(0, 600),
  )
  .option(
    '--engines <regex>',
    'only these of dawngrad-webgpu, jax-webgpu, tfjs-webgpu, dawngrad-cpu, dawngrad-cpu-1, jax-wasm, tfjs-wasm, torch',
    regex,
  )
  .option('--cold', 'first steps in new processes, with an empty cache of shaders, instead')
  .action(benchPeers);
command('tune', 'measures the variants of the matrix product and writes a table for the adapter')
  .option(...seconds('time for each variant', 0.3))
  .action(async (options: Options) => (await import('./tune.js')).benchTune(options));
program
  .command('lab [name] [options...]')
  .description('runs a kernel laboratory of bench/lab')
  .allowUnknownOption()
  .helpOption(false)
  .action((name: string | undefined, args: string[]) => lab(name, args));
await runProgram(program, 'bench');
