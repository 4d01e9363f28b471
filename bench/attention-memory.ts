/**
 * Peak memory and time of attention, forward and backward, over the number of tokens: npx tsx bench/attention-memory.ts --help
 *
 * One sequence, one head of width 64, causal. `composed` makes the scores as a whole, T × T; `fused` never does. Where both fit, their
 * results and gradients are compared.
 */
import { parseArgs } from 'node:util';
import { autograd, type Device, openDevice, scaledDotProductAttention, scope, tensor } from '../src/index.js';

const HELP = `npx tsx bench/attention-memory.ts [--device cpu|webgpu] [--adapter NAME] [--tokens 1024,2048,…] [--composed N]

  --composed N   longest T for the version with all scores (default 4096)
  --width D      head width (default 64)`;

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string', default: 'webgpu' },
    adapter: { type: 'string' },
    tokens: { type: 'string', default: '1024,2048,4096,8192,16384' },
    composed: { type: 'string', default: '4096' },
    width: { type: 'string', default: '64' },
    help: { type: 'boolean', short: 'h' },
  },
});

interface Result {
  readonly peakMiB: number;
  readonly seconds: number;
  /** y, dq, dk, dv. */
  readonly values: readonly Float32Array[];
}

/** Repeatable values of deviation about 1. */
function noise(count: number, seed: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: count }, () => {
    // xorshift32, Marsaglia 2003.
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return (state / 2 ** 32 - 0.5) * 3.46;
  });
}

async function run(device: Device, T: number, D: number, whole: boolean): Promise<Result> {
  const make = (seed: number) => tensor(noise(T * D, seed), { shape: [1, T, D], device });
  const inputs = [1, 2, 3].map((seed) => make(seed).requiresGrad_());
  const gradient = make(4);
  await device.synchronize();
  device.resetPeak();
  const started = performance.now();
  const outputs = scope(() => {
    const [q, k, v] = inputs;
    // A mask, here one that hides nothing, is added to the scores, which must exist for that.
    const mask = whole ? tensor([[0]], { device }) : null;
    const y = scaledDotProductAttention(q, k, v, { isCausal: true, mask });
    return [y.detach(), ...autograd.grad([y], inputs, { gradOutputs: [gradient] })];
  });
  await device.synchronize();
  const seconds = (performance.now() - started) / 1000;
  const peakMiB = device.memory().peakBytes / 2 ** 20;
  const values: Float32Array[] = [];
  for (const t of outputs) values.push((await t.data()) as Float32Array);
  for (const t of [...outputs, ...inputs, gradient]) t.release();
  return { peakMiB, seconds, values };
}

/** Largest difference relative to the largest value. */
function difference(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  let worst = 0;
  a.forEach((x, k) => {
    let most = 0;
    let off = 0;
    x.forEach((value, i) => {
      most = Math.max(most, Math.abs(value));
      off = Math.max(off, Math.abs(value - b[k][i]));
    });
    worst = Math.max(worst, off / most);
  });
  return worst;
}

async function main(): Promise<void> {
  const device = await openDevice({ device: flags.device as 'cpu' | 'webgpu', adapter: flags.adapter });
  const D = Number(flags.width);
  console.log(`${device.info.name}, one head of width ${D}, causal, float32, forward and backward`);
  const row = (...cells: string[]): void => console.log(cells.map((c) => c.padStart(15)).join(''));
  row('T', 'fused MiB', 'fused s', 'composed MiB', 'composed s', 'difference');
  // Kernels compile before the clock runs.
  for (const whole of [false, true]) await run(device, 64, D, whole);
  for (const T of flags.tokens.split(',').map(Number)) {
    const fused = await run(device, T, D, false);
    const both = T <= Number(flags.composed) ? await run(device, T, D, true) : null;
    row(
      String(T),
      fused.peakMiB.toFixed(1),
      fused.seconds.toFixed(2),
      both ? both.peakMiB.toFixed(1) : '–',
      both ? both.seconds.toFixed(2) : '–',
      both ? difference(fused.values, both.values).toExponential(1) : '–',
    );
  }
  await device.close();
}

if (flags.help) console.log(HELP);
else await main();
