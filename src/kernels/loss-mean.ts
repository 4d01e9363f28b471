/**
 * Access pattern: two vectors to two numbers in one workgroup, losses and weights of all rows.
 *
 * Reads every element once. One dispatch serves any number of rows: the kernels that made them have read a row of scores for
 * each. Sums are kept in blocks of 64 per invocation, so that many rows lose no digits.
 */
import type { Dispatch, HostArray, Kernel, KernelCall } from '../device/types.js';
import { declarations, IS_NAN, NAN } from './wgsl.js';

/** Terms that an invocation adds up before they join the rest. */
const BLOCK = 64;

const kernels = new Map<number, Kernel>();

/** One workgroup of `lanes` invocations; a single one needs no barrier. */
function kernelOf(lanes: number): Kernel {
  let kernel = kernels.get(lanes);
  if (kernel) return kernel;
  const tree = `
shared_sums[local] = sums;
for (var half = ${lanes / 2}u; half > 0u; half /= 2u) {
  workgroupBarrier();
  if (local < half) { shared_sums[local] += shared_sums[local + half]; }
}
if (local != 0u) { return; }
sums = shared_sums[0];`;
  kernel = {
    key: `lossMean:${lanes}`,
    bindings: [
      { name: 'losses', type: 'f32', access: 'read' },
      { name: 'stats', type: 'f32', access: 'read' },
      { name: 'mean', type: 'f32', access: 'read_write' },
      { name: 'total', type: 'f32', access: 'read_write' },
    ],
    params: [
      { name: 'rows', type: 'u32' },
      { name: 'losses_offset', type: 'u32' },
      { name: 'weights_offset', type: 'u32' },
    ],
    workgroupSize: lanes,
    declarations: `${declarations(IS_NAN, NAN)}
${lanes > 1 ? `var<workgroup> shared_sums: array<vec2f, ${lanes}>;` : ''}`,
    body: `
var sums = vec2f();
for (var start = 0u; start < p.rows; start += ${BLOCK * lanes}u) {
  let stop = min(start + ${BLOCK * lanes}u, p.rows);
  var block = vec2f();
  for (var row = start + local; row < stop; row += ${lanes}u) {
    block += vec2f(losses[p.losses_offset + row], stats[p.weights_offset + row]);
  }
  sums += block;
}
${lanes > 1 ? tree : ''}
mean[0] = select(sums.x / sums.y, nan(), is_nan(sums.x) || (sums.x == 0.0 && sums.y == 0.0));
total[0] = sums.y;`,
  };
  kernels.set(lanes, kernel);
  return kernel;
}

/** Inputs: losses [rows] and statistics [3, rows], whose last row holds the weights; outputs: the mean, and Σ weights. */
export function lossMeanKernel({
  inputs: [losses, stats],
  outputs: [mean, total],
  target,
}: KernelCall<null>): Dispatch[] {
  const [rows] = losses.shape;
  return [
    {
      kernel: kernelOf(target.kind === 'software' ? 1 : 256),
      buffers: [losses.buffer, stats.buffer, mean.buffer, total.buffer],
      params: [rows, losses.offset, stats.offset + 2 * rows],
      workgroups: 1,
    },
  ];
}

/** As the kernel, in the sums' full precision. */
export function lossMeanHost(
  [losses, stats]: readonly HostArray[],
  [mean, total]: readonly HostArray[],
): void {
  const [rows] = losses.shape;
  const weights = stats.offset + 2 * rows;
  let sum = 0;
  let weight = 0;
  for (let row = 0; row < rows; row++) {
    sum += losses.data[losses.offset + row];
    weight += stats.data[weights + row];
  }
  mean.data[mean.offset] = sum / weight;
  total.data[total.offset] = weight;
}
