/**
 * Access pattern: one workgroup per row of weights draws categories from it.
 *
 * With replacement by inverting the cumulative sum: every invocation sums a chunk of the row, then each draw walks the
 * chunk sums and one chunk. Without replacement by an exponential race: category k finishes at Eₖ / weightₖ, E
 * exponential, and the first to finish are the sample in order. Weights that are negative, infinite or NaN count as 0.
 *
 * @source Efraimidis, Spirakis: Weighted random sampling with a reservoir (2006), for the race.
 */
import { DataError } from '../device/errors.js';
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type WgslType,
  wgslType,
} from '../device/types.js';
import { philox, type RandomState } from '../tensor/random.js';
import { numel } from '../tensor/shape.js';
import { load, WORKGROUP, workgroups } from './pointwise.js';
import {
  BLOCK_PARAMS,
  type BlockParams,
  blockValues,
  NORMAL,
  PHILOX,
  randomState,
  STATE_BINDING,
} from './random.js';

export interface MultinomialParams extends BlockParams {
  readonly draws: number;
  readonly replacement: boolean;
}

const words = new Uint32Array(4);

/** The i-th word of an operation's stream. */
function word({ seed, counter }: RandomState, i: number): number {
  philox(counter + Math.floor(i / 4), seed, words);
  return words[i % 4];
}

/** Host side; x is [rows, k]. @throws DataError for rows that are no distribution */
export function multinomialHost(
  [x, state]: readonly HostArray[],
  [y]: readonly HostArray[],
  params: MultinomialParams,
): void {
  const s = { ...params, ...randomState(state, params) };
  const k = x.shape[x.shape.length - 1];
  const rows = numel(x.shape) / Math.max(k, 1);
  const keys = new Float32Array(k);
  for (let row = 0; row < rows; row++) {
    const at = x.offset + row * k;
    let total = 0;
    let positive = 0;
    for (let i = 0; i < k; i++) {
      const v = x.data[at + i];
      if (!(v >= 0 && v < Infinity)) {
        throw new DataError(
          `multinomial: expected weights that are finite and not negative, got ${v} in row ${row}`,
        );
      }
      total += v;
      if (v > 0) positive++;
    }
    const least = s.replacement ? 1 : s.draws;
    if (positive < least && s.draws > 0) {
      throw new DataError(
        `multinomial: expected at least ${least} positive weights in row ${row}, got ${positive}`,
      );
    }
    if (s.replacement) invert(x.data, at, k, total, y.data, row * s.draws, s);
    else {
      for (let i = 0, w = row * k; i < k; i++, w++) {
        if (i === 0 || w % 4 === 0) philox(s.counter + Math.floor(w / 4), s.seed, words);
        const e = -Math.log(((words[w % 4] >>> 8) + 1) * 2 ** -24);
        // Tiny weights finish before those of 0 all the same.
        keys[i] = x.data[at + i] > 0 ? Math.min(e / x.data[at + i], 3.3e38) : Infinity;
      }
      smallest(keys, s.draws, y.data, row * s.draws);
    }
  }
}

/** Draws for which scanning all keys each time is no slower than sorting them. */
const FEW = 16;

/** The positions of the `count` smallest keys in order; the earlier one of two equals comes first. */
function smallest(keys: Float32Array, count: number, y: HostArray['data'], to: number): void {
  if (count > FEW) {
    const order = Array.from(keys.keys()).sort((i, j) => keys[i] - keys[j] || i - j);
    for (let d = 0; d < count; d++) y[to + d] = order[d];
    return;
  }
  let last = -1;
  let lastAt = -1;
  for (let d = 0; d < count; d++) {
    let best = Infinity;
    let at = -1;
    for (let i = 0; i < keys.length; i++) {
      const v = keys[i];
      if (v < best && (v > last || (v === last && i > lastAt))) {
        best = v;
        at = i;
      }
    }
    y[to + d] = at;
    last = best;
    lastAt = at;
  }
}

function invert(
  x: HostArray['data'],
  at: number,
  k: number,
  total: number,
  y: HostArray['data'],
  to: number,
  s: MultinomialParams & RandomState,
): void {
  for (let d = 0; d < s.draws; d++) {
    const goal = (word(s, to + d) >>> 8) * 2 ** -24 * total;
    let sum = 0;
    let pick = 0;
    for (let i = 0; i < k; i++) {
      if (x[at + i] === 0) continue;
      pick = i;
      sum += x[at + i];
      if (sum > goal) break;
    }
    y[to + d] = pick;
  }
}

const cache = new Map<string, Kernel>();

const WEIGHT = `
fn weight(v: f32) -> f32 { return select(0.0, v, bitcast<u32>(v) < 0x7f800000u); }`;

const PARAMS: Kernel['params'] = [
  { name: 'rows', type: 'u32' },
  { name: 'k', type: 'u32' },
  { name: 'draws', type: 'u32' },
  { name: 'offset', type: 'u32' },
  ...BLOCK_PARAMS,
];

function cached(key: string, make: () => Omit<Kernel, 'key'>): Kernel {
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = { key, ...make() }));
  return kernel;
}

/** x: [rows, k] weights, y: [rows, draws] int32. */
function inversionKernel(type: WgslType, size: number): Kernel {
  return cached(`multinomial:inversion:${type}:${size}`, () => ({
    bindings: [
      { name: 'x', type, access: 'read' },
      STATE_BINDING,
      { name: 'y', type: 'i32', access: 'read_write' },
    ],
    params: PARAMS,
    workgroupSize: size,
    enables: type === 'f16' ? ['f16'] : undefined,
    declarations: `${PHILOX}${WEIGHT}\nvar<workgroup> sums: array<f32, ${size}>;`,
    body: `if (group >= p.rows) { return; }
let base = p.offset + group * p.k;
let chunk = (p.k + ${size - 1}u) / ${size}u;
var mine = 0.0;
for (var i = local * chunk; i < min((local + 1u) * chunk, p.k); i++) { mine += weight(${load(type, 'x[base + i]')}); }
sums[local] = mine;
workgroupBarrier();
for (var d = local; d < p.draws; d += ${size}u) {
  let number = group * p.draws + d;
  var total = 0.0;
  for (var c = 0u; c < ${size}u; c++) { total += sums[c]; }
  let goal = f32(random_words(number / 4u)[number % 4u] >> 8u) * 5.9604644775390625e-8 * total;
  var sum = 0.0;
  var c = 0u;
  while (c < ${size - 1}u && sum + sums[c] <= goal) { sum += sums[c]; c++; }
  var pick = min(c * chunk, p.k - 1u);
  for (var i = c * chunk; i < min((c + 1u) * chunk, p.k); i++) {
    let v = weight(${load(type, 'x[base + i]')});
    if (v > 0.0) {
      pick = i;
      sum += v;
      if (sum > goal) { break; }
    }
  }
  y[number] = i32(pick);
}`,
  }));
}

/** Finishing times; zero weights finish last of all. */
function raceKernel(type: WgslType): Kernel {
  return cached(`multinomial:race:${type}`, () => ({
    bindings: [
      { name: 'x', type, access: 'read' },
      STATE_BINDING,
      { name: 'keys', type: 'f32', access: 'read_write' },
    ],
    params: PARAMS,
    workgroupSize: WORKGROUP,
    enables: type === 'f16' ? ['f16'] : undefined,
    declarations: `${PHILOX}${NORMAL}${WEIGHT}`,
    body: `if (index >= p.rows * p.k) { return; }
let v = weight(${load(type, 'x[p.offset + index]')});
let e = -ln_unit((random_words(index / 4u)[index % 4u] >> 8u) + 1u);
keys[index] = select(3.4e38, min(e / max(v, 1e-37), 3.3e38), v > 0.0);`,
  }));
}

/** The `draws` smallest keys of each row, in order: each round finds the smallest beyond the last one found. */
function winnersKernel(size: number): Kernel {
  return cached(`multinomial:winners:${size}`, () => ({
    bindings: [
      { name: 'keys', type: 'f32', access: 'read' },
      { name: 'y', type: 'i32', access: 'read_write' },
    ],
    params: PARAMS.slice(0, 3),
    workgroupSize: size,
    declarations: `var<workgroup> best: array<f32, ${size}>;\nvar<workgroup> place: array<u32, ${size}>;`,
    body: `if (group >= p.rows) { return; }
var last = -1.0;
var last_at = 0u;
for (var d = 0u; d < p.draws; d++) {
  var key = 3.4e38;
  var at = 0xffffffffu;
  for (var i = local; i < p.k; i += ${size}u) {
    let v = keys[group * p.k + i];
    if ((v > last || (v == last && i > last_at)) && (v < key || (v == key && i < at))) { key = v; at = i; }
  }
  best[local] = key;
  place[local] = at;
  for (var half = ${size / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half && (best[local + half] < best[local] || (best[local + half] == best[local] && place[local + half] < place[local]))) {
      best[local] = best[local + half];
      place[local] = place[local + half];
    }
  }
  workgroupBarrier();
  last = best[0];
  last_at = place[0];
  workgroupBarrier();
  if (local == 0u) { y[group * p.draws + d] = i32(last_at); }
}`,
  }));
}

/** Draws from the rows of x, contiguous. */
export function multinomialKernel({
  inputs: [x, state],
  outputs: [y],
  params,
  target,
  scratch,
}: KernelCall<MultinomialParams>): Dispatch[] {
  const k = x.shape[x.shape.length - 1];
  const rows = params.draws === 0 ? 0 : numel(y.shape) / params.draws;
  const type = wgslType(x.dtype);
  const size = target.kind === 'software' ? 64 : 256;
  const values = [rows, k, params.draws, x.offset, ...blockValues(params)];
  if (params.replacement) {
    return [
      {
        kernel: inversionKernel(type, size),
        buffers: [x.buffer, state.buffer, y.buffer],
        params: values,
        workgroups: rows,
      },
    ];
  }
  if (rows === 0) return [];
  const keys = scratch(rows * k * 4);
  return [
    {
      kernel: raceKernel(type),
      buffers: [x.buffer, state.buffer, keys],
      params: values,
      workgroups: workgroups(rows * k),
    },
    { kernel: winnersKernel(size), buffers: [keys, y.buffer], params: values.slice(0, 3), workgroups: rows },
  ];
}
