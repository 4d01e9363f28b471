/**
 * Access pattern: one workgroup per row of logits finds what is worth sampling from.
 *
 * Nothing is sorted. Floats become integers of the same order, and the smallest one that is kept is found digit by digit,
 * highest first: eight passes that count elements (top-k) or add up their probabilities (top-p) by the value of a digit.
 */
import { type Dispatch, type HostArray, type Kernel, type KernelCall, wgslType } from '../device/types.js';
import { numel } from '../tensor/shape.js';
import { load, store } from './pointwise.js';
import { declarations, INF, ORDER_KEYS } from './wgsl.js';

export interface FilterParams {
  /** 1 / temperature. */
  readonly scale: number;
  /** Keep so many of the largest; 0 for all. */
  readonly topK: number;
  /** Keep the largest until their probabilities reach this; 1 for all. */
  readonly topP: number;
  /** ln(minP): keep what lies at most so far below the largest; −Infinity for all. */
  readonly logMinP: number;
}

/** The k-th largest of the values, by a heap of the k largest so far whose root is the smallest. */
function kthLargest(values: Float64Array, k: number): number {
  const heap = values.slice(0, k).sort();
  for (let i = k; i < values.length; i++) {
    const v = values[i];
    if (!(v > heap[0])) continue;
    let at = 0;
    for (let child = 1; child < k; child = 2 * at + 1) {
      if (child + 1 < k && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= v) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = v;
  }
  return heap[0];
}

/** The largest value such that it and all above it have the share `topP` of exp(v − most) over the values from `least` on. */
function nucleus(values: Float64Array, most: number, least: number, topP: number): number {
  let total = 0;
  for (const v of values) if (v >= least) total += Math.exp(v - most);
  const goal = topP * total;
  // Most rows need a few values only, so ever more of them are sorted until they are enough.
  for (let depth = 4; ; depth *= 2) {
    const from = Math.max(most - depth, least);
    const head = values.filter((v) => v >= from).sort();
    let mass = 0;
    for (let i = head.length - 1; i >= 0; i--) {
      mass += Math.exp(head[i] - most);
      if (mass >= goal) return head[i];
    }
    if (from === least || head.length === values.length || !Number.isFinite(from)) return least;
  }
}

export function filterLogitsHost(
  [x]: readonly HostArray[],
  [y]: readonly HostArray[],
  { scale, topK, topP, logMinP }: FilterParams,
): void {
  const n = x.shape[x.shape.length - 1];
  const rows = numel(x.shape) / Math.max(n, 1);
  const values = new Float64Array(n);
  for (let row = 0; row < rows; row++) {
    const at = x.offset + row * n;
    let most = -Infinity;
    let unordered = false;
    for (let i = 0; i < n; i++) {
      const v = x.data[at + i] * scale;
      values[i] = v;
      if (v > most) most = v;
      unordered ||= Number.isNaN(v);
    }
    let least = -Infinity;
    // Rows with NaN, or with nothing finite, are left as they are.
    if (!unordered && Number.isFinite(most)) {
      if (topK > 0 && topK < n) least = kthLargest(values, topK);
      if (topP < 1) least = Math.max(least, nucleus(values, most, least, topP));
      least = Math.max(least, most + logMinP);
    }
    for (let i = 0, to = row * n; i < n; i++, to++) y.data[to] = values[i] < least ? -Infinity : values[i];
  }
}

const cache = new Map<string, Kernel>();

const LOWEST = '0x00800000u';
/** Values of a digit: eight digits make a key. */
const DIGITS = 16;

/** Functions of all invocations: a maximum, a sum, and the digit at which sums from above reach a goal. Few barriers: they are dear without a GPU. */
const together = (width: number): string => `
var<workgroup> keys: array<u32, ${width}>;
var<workgroup> sums: array<f32, ${width}>;
var<workgroup> bins: array<f32, ${width * DIGITS}>;
var<workgroup> totals: array<f32, ${DIGITS}>;
fn largest(value: u32, local: u32) -> u32 {
  keys[local] = value;
  workgroupBarrier();
  var all = 0u;
  for (var i = 0u; i < ${width}u; i++) { all = max(all, keys[i]); }
  return all;
}
fn sum(value: f32, local: u32) -> f32 {
  sums[local] = value;
  workgroupBarrier();
  var all = 0.0;
  for (var i = 0u; i < ${width}u; i++) { all += sums[i]; }
  return all;
}
struct Found { digit: u32, above: f32 }
fn digit_of(goal: f32, above: f32, local: u32) -> Found {
  workgroupBarrier();
  if (local < ${DIGITS}u) {
    var all = 0.0;
    for (var i = 0u; i < ${width}u; i++) { all += bins[local * ${width}u + i]; }
    totals[local] = all;
  }
  workgroupBarrier();
  var found = Found(0u, above);
  // Where rounding keeps the goal out of reach, the lowest.
  for (var d = ${DIGITS}u; d > 0u; d--) {
    let here = totals[d - 1u];
    if (here > 0.0 && found.above + here >= goal) { return Found(d - 1u, found.above); }
    found.above += here;
  }
  return found;
}`;

/** Up to 19 passes over the row; reads it from caches but for the first. */
function body(width: number, element: string, stored: (value: string) => string): string {
  const each = (code: string) =>
    `for (var i = local; i < p.n; i += ${width}u) { let v = ${element} * p.scale; let key = order_key(v); ${code} }`;
  // The largest key such that it and all above it come to the goal, digit by digit.
  const search = (value: string, goal: string) => `
    var found = 0u;
    var above = 0.0;
    for (var shift = 28i; shift >= 0i; shift -= 4i) {
      let by = u32(shift);
      for (var d = 0u; d < ${DIGITS}u; d++) { bins[d * ${width}u + local] = 0.0; }
      ${each(`if (key >= least && (by == 28u || (key >> (by + 4u)) == (found >> (by + 4u)))) { bins[((key >> by) & 15u) * ${width}u + local] += ${value}; }`)}
      let next = digit_of(${goal}, above, local);
      found |= next.digit << by;
      above = next.above;
    }
    least = max(least, found);`;
  return `
if (group >= p.rows) { return; }
let base = p.offset + group * p.n;
var top = 0u;
${each('top = max(top, key);')}
top = largest(top, local);
// Infinity, −infinity and NaN: nothing is left out.
let ordered = top < 0xff800000u && top > ${LOWEST};
let most = from_order_key(top);
var least = 0u;
if (p.top_k > 0u) {${search('1.0', 'f32(p.top_k)')}
}
if (p.top_p < 1.0) {
  var mine = 0.0;
  ${each(`if (key >= least && key > ${LOWEST}) { mine += exp(v - most); }`)}
  let goal = p.top_p * sum(mine, local);
  ${search(`select(exp(v - most), 0.0, key <= ${LOWEST})`, 'goal')}
}
if (p.bounded > 0u) { least = max(least, order_key(most + p.log_min_p)); }
if (!ordered) { least = 0u; }
for (var i = local; i < p.n; i += ${width}u) {
  let v = ${element} * p.scale;
  let kept = order_key(v) >= least;
  y[group * p.n + i] = ${stored('select(-inf(), v, kept)')};
}`;
}

export function filterLogitsKernel({
  inputs: [x],
  outputs: [y],
  params: { scale, topK, topP, logMinP },
  target,
}: KernelCall<FilterParams>): Dispatch[] {
  const n = x.shape[x.shape.length - 1];
  const rows = numel(x.shape) / Math.max(n, 1);
  const type = wgslType(x.dtype);
  // 128 fill half of the 16 KiB that every adapter has.
  const width = target.kind === 'gpu' ? 128 : 32;
  const key = `filterLogits:${type}:${width}`;
  let kernel = cache.get(key);
  if (!kernel) {
    kernel = {
      key,
      bindings: [
        { name: 'x', type, access: 'read' },
        { name: 'y', type, access: 'read_write' },
      ],
      params: [
        ...['rows', 'n', 'offset', 'top_k', 'bounded'].map((name) => ({ name, type: 'u32' }) as const),
        ...['scale', 'top_p', 'log_min_p'].map((name) => ({ name, type: 'f32' }) as const),
      ],
      workgroupSize: width,
      enables: type === 'f16' ? ['f16'] : undefined,
      declarations: declarations(ORDER_KEYS, INF) + together(width),
      body: body(width, load(type, 'x[base + i]'), (value) => store(type, value)),
    };
    cache.set(key, kernel);
  }
  const bounded = logMinP > -Infinity;
  return [
    {
      kernel,
      buffers: [x.buffer, y.buffer],
      params: [
        ...[rows, n, x.offset, topK < n ? topK : 0, Number(bounded)],
        ...[scale, topP, bounded ? logMinP : 0],
      ],
      workgroups: n === 0 ? 0 : rows,
    },
  ];
}
