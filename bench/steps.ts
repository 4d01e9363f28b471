/** `npm run bench -- steps`: whole training steps, eager and captured. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Device } from '../src/device/types.js';
import { capture, type nn, optim, scope, setDefaultDevice, type Tensor, tensor } from '../src/index.js';
import { CharTransformer, type CharTransformerConfig } from '../src/models/char-transformer.js';
import { SMALL } from '../src/train/char-lm.js';
import { CharLSTM } from '../src/models/char-lstm.js';
import { withEmptyCache } from './empty-cache.js';
import { Mlp, TINY } from './models.js';
import type { Options } from './options.js';
import { digits, median, table } from './report.js';

type Loss = (x: Tensor, targets: Tensor) => Tensor;

export interface StepSpec {
  readonly name: string;
  readonly large?: boolean;
  /** Batch × length of ids; the MLP has rows of pixels. */
  readonly batch: number;
  readonly length: number;
  readonly optimizer: 'SGD' | 'Adam' | 'AdamW';
  readonly clip?: boolean;
  readonly classes: number;
  readonly pixels?: number;
  build(): nn.Module & { loss: Loss };
}

function transformer(
  name: string,
  config: CharTransformerConfig,
  batch: number,
  optimizer: StepSpec['optimizer'],
  more: Partial<StepSpec> = {},
): StepSpec {
  return {
    name,
    batch,
    length: config.blockSize,
    optimizer,
    classes: config.vocabSize,
    build: () => new CharTransformer(config),
    ...more,
  };
}

const gpt = (layers: number, heads: number, dim: number, blockSize: number, vocabSize = 65) => ({
  vocabSize,
  blockSize,
  layers,
  heads,
  dim,
  dropout: 0,
});

export const STEPS: readonly StepSpec[] = [
  {
    name: 'MLP 784-256-10, batch 64, SGD',
    batch: 64,
    length: 1,
    pixels: 784,
    classes: 10,
    optimizer: 'SGD',
    build: () => new Mlp(),
  },
  transformer('tiny Transformer: 1 layer, d 64, T 32, B 4, SGD', TINY, 4, 'SGD'),
  {
    name: 'LSTM 48 → 96 (system 2), 36 × 48, Adam',
    batch: 36,
    length: 48,
    classes: 60,
    optimizer: 'Adam',
    build: () => new CharLSTM({ vocabSize: 60, embedding: 48, hidden: 96 }),
  },
  transformer('GPT 1 M: 5 layers, d 128, T 64, B 4, AdamW', gpt(5, 4, 128, 64), 4, 'AdamW', { clip: true }),
  transformer(
    'npm start: 2 layers, d 96, T 64, B 16, AdamW',
    { ...SMALL, vocabSize: 89 },
    SMALL.batchSize,
    'AdamW',
    {
      clip: true,
    },
  ),
  transformer('GPT 10 M: 6 layers, d 384, T 256, B 4, AdamW', gpt(6, 6, 384, 256), 4, 'AdamW', {
    clip: true,
    large: true,
  }),
  transformer(
    'GPT-2 124M shapes: 12 layers, d 768, T 256, B 1, AdamW',
    gpt(12, 12, 768, 256, 50257),
    1,
    'AdamW',
    {
      clip: true,
      large: true,
    },
  ),
];

export interface StepReport {
  readonly name: string;
  readonly mode: 'eager' | 'captured';
  readonly parameters: number;
  readonly msPerStep: number;
  readonly tokensPerSecond: number;
  /** The first step of the process, kernels compiled with the cache as it was. */
  readonly firstMs: number;
  readonly dispatches: number;
  /** Time from the first op call to the last, per dispatch, in µs: everything but waiting for the device. */
  readonly hostMicros: number;
  readonly bindGroupsPerStep: number;
  readonly peakMiB: number;
}

/** A step ready to run: uploads a batch, trains, reads the loss. */
export function prepareStep(
  spec: StepSpec,
  mode: 'eager' | 'captured',
): {
  once(): Promise<{ ms: number; hostMs: number }>;
  dispatches(): number | null;
  parameters: number;
  release(): void;
} {
  const model = spec.build();
  const parameters = model.parameters();
  const optimizer =
    spec.optimizer === 'SGD'
      ? new optim.SGD(parameters, { lr: 0.01 })
      : new optim[spec.optimizer](parameters, { lr: 1e-3 });
  const step = (x: Tensor, targets: Tensor): Tensor => {
    const loss = model.loss(x, targets);
    loss.backward();
    if (spec.clip) optim.clipGradNorm_(parameters, 1);
    optimizer.step();
    optimizer.zeroGrad();
    return loss;
  };
  const captured = mode === 'captured' ? capture(step) : null;
  const n = spec.batch * spec.length;
  const ids = Int32Array.from({ length: n + 1 }, (_, i) => (i * 7919) % spec.classes);
  const pixels = spec.pixels && Float32Array.from({ length: n * spec.pixels }, (_, i) => (i % 17) / 17);
  const batch = (): [Tensor, Tensor] => {
    const shape = spec.pixels ? [n] : [spec.batch, spec.length];
    const targets = tensor(ids.subarray(1), { shape });
    return [
      pixels ? tensor(pixels, { shape: [n, spec.pixels!] }) : tensor(ids.subarray(0, n), { shape }),
      targets,
    ];
  };
  return {
    parameters: parameters.reduce((sum, p) => sum + p.numel, 0),
    dispatches: () => captured?.stats.dispatches ?? null,
    async once() {
      const start = performance.now();
      const inputs = batch();
      const loss = captured ? captured(...inputs) : scope(() => step(...inputs).detach());
      const hostMs = performance.now() - start;
      await loss.item();
      const ms = performance.now() - start;
      for (const t of captured ? inputs : [...inputs, loss]) t.release();
      return { ms, hostMs };
    },
    release() {
      captured?.release();
      for (const p of parameters) p.release();
    },
  };
}

async function measure(
  device: Device,
  spec: StepSpec,
  mode: 'eager' | 'captured',
  seconds: number,
): Promise<StepReport> {
  const step = prepareStep(spec, mode);
  device.resetPeak();
  const { ms: firstMs } = await step.once();
  /** Steps for as long, at least three. */
  const repeat = async (limit: number): Promise<{ ms: number; hostMs: number }[]> => {
    const all: { ms: number; hostMs: number }[] = [];
    const start = performance.now();
    while (all.length < 3 || performance.now() - start < limit * 1000) all.push(await step.once());
    return all;
  };
  // JavaScript engines take some hundreds of calls to compile all of ours.
  await repeat(2 * seconds);
  const before = device.stats();
  const steps = await repeat(2 * seconds);
  const after = device.stats();
  const ms = median(steps.map((s) => s.ms));
  const dispatches = step.dispatches() ?? (after.dispatches - before.dispatches) / steps.length;
  const report: StepReport = {
    name: spec.name,
    mode,
    parameters: step.parameters,
    msPerStep: ms,
    tokensPerSecond: (spec.batch * spec.length * 1000) / ms,
    firstMs,
    dispatches,
    hostMicros: (median(steps.map((s) => s.hostMs)) * 1000) / dispatches,
    bindGroupsPerStep: (after.bindGroupsCreated - before.bindGroupsCreated) / steps.length,
    peakMiB: device.memory().peakBytes / 2 ** 20,
  };
  step.release();
  await device.synchronize();
  return report;
}

export async function benchSteps(device: Device, options: Options): Promise<StepReport[]> {
  setDefaultDevice(device);
  const rows: StepReport[] = [];
  for (const spec of chosen(options)) {
    for (const mode of ['eager', 'captured'] as const) {
      rows.push(await measure(device, spec, mode, options.seconds));
    }
  }
  table(
    'Training steps (the loss is read after each)',
    ['', '', 'ms', 'samples/s', 'first ms', 'dispatches', 'host µs/dispatch', 'new bind groups', 'peak MiB'],
    rows.map((s) => [
      s.name,
      s.mode,
      digits(s.msPerStep),
      digits(s.tokensPerSecond),
      digits(s.firstMs),
      s.dispatches.toFixed(0),
      s.hostMicros.toFixed(1),
      s.bindGroupsPerStep.toFixed(1),
      s.peakMiB.toFixed(1),
    ]),
  );
  return rows;
}

const chosen = (options: Options): StepSpec[] =>
  STEPS.filter((s) => (options.large || !s.large) && (!options.only || options.only.test(s.name)));

export interface ColdReport {
  readonly name: string;
  readonly openMs: number;
  readonly firstMs: number;
}

/** First steps, each in a process of its own with an empty cache of shaders. */
export async function benchCold(
  device: 'cpu' | 'webgpu',
  adapter: string | undefined,
  options: Options,
): Promise<ColdReport[]> {
  const child = fileURLToPath(new URL('cold.ts', import.meta.url));
  const rows: ColdReport[] = [];
  for (const spec of chosen(options)) {
    const args = ['--import', 'tsx', child, device, adapter ?? '', spec.name];
    const { stdout, stderr, status } = await withEmptyCache((cache) =>
      spawnSync(process.execPath, args, { env: { ...process.env, ...cache }, encoding: 'utf8' }),
    );
    if (status !== 0) throw new Error(`${spec.name}: the process of the first step failed\n${stderr}`);
    rows.push(JSON.parse(stdout.trim().split('\n').pop()!));
  }
  table(
    'First step of a process, shader cache empty',
    ['', 'open the device, ms', 'first step, ms'],
    rows.map((r) => [r.name, digits(r.openMs), digits(r.firstMs)]),
  );
  return rows;
}
