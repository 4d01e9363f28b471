/**
 * Access pattern: every invocation makes one Philox block, four random words, and from them four neighbouring elements
 * of a contiguous output. Element i always gets word i mod 4 of block counter + ⌊i/4⌋, so that the numbers depend on
 * seed and counter alone: neither on the device nor on how the work is cut.
 *
 * Computes about 60 integer operations per element; writes each once, reads the input (if any) once.
 *
 * @source Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
 */
import {
  type Dispatch,
  type HostArray,
  type Kernel,
  type KernelCall,
  type Program,
  type SimdModule,
  type SimdView,
  wgslType,
} from '../device/types.js';
import { mulHigh, philox, type RandomState } from '../tensor/random.js';
import { numel } from '../tensor/shape.js';
import { scalarType } from './fill.js';
import { load, type ParamSpec, store, WORKGROUP, workgroups } from './pointwise.js';

/**
 * WGSL of `philox` and `mulHigh` in tensor/random.ts; `random_words(b)` is block b of the operation. Reads the binding
 * `state` (STATE_BINDING) and the parameters BLOCK_PARAMS.
 */
export const PHILOX = `
fn mul_high(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu;
  let a1 = a >> 16u;
  let b0 = b & 0xffffu;
  let b1 = b >> 16u;
  let upper = a1 * b0;
  let lower = a0 * b1;
  let carry = ((a0 * b0) >> 16u) + (upper & 0xffffu) + (lower & 0xffffu);
  return a1 * b1 + (upper >> 16u) + (lower >> 16u) + (carry >> 16u);
}
fn random_words(block: u32) -> vec4u {
  let start = state[2] + p.block_low;
  let low = start + block;
  let carry = select(0u, 1u, start < p.block_low) + select(0u, 1u, low < block);
  var c = vec4u(low, state[3] + p.block_high + carry, 0u, 0u);
  var k = vec2u(state[0], state[1]);
  for (var round = 0u; round < 10u; round++) {
    c = vec4u(
      mul_high(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z,
      mul_high(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}`;

/** Where an operation's numbers begin, in blocks of four words behind the counter of its state. */
export interface BlockParams {
  readonly block: number;
}

/** The state that `random_words` reads: see `Draw` in tensor/random.ts. */
export const STATE_BINDING = { name: 'state', type: 'u32', access: 'read' } as const;

/** The parameters that `random_words` reads. */
export const BLOCK_PARAMS: readonly ParamSpec[] = [
  { name: 'block_low', type: 'u32' },
  { name: 'block_high', type: 'u32' },
];

/** Values of BLOCK_PARAMS. */
export function blockValues({ block }: BlockParams): number[] {
  return [block >>> 0, Math.floor(block / 2 ** 32)];
}

/** Seed and counter of an operation on the host. */
export function randomState({ data, offset }: HostArray, { block }: BlockParams): RandomState {
  const word = (i: number): number => data[offset + i];
  return { seed: word(0) + word(1) * 2 ** 32, counter: word(2) + word(3) * 2 ** 32 + block };
}

/** The same as four words, the low one of each first, for WebAssembly. */
function stateWords(module: SimdModule, { pointer }: SimdView, { block }: BlockParams): number[] {
  const word = (i: number): number => module.loadU32(pointer + 4 * i) >>> 0;
  const counter = word(2) + word(3) * 2 ** 32 + block;
  return [word(0), word(1), counter >>> 0, Math.floor(counter / 2 ** 32)];
}

/**
 * ln(k·2⁻²⁴) for k in [1, 2²⁴], and two normal numbers of two words. WGSL allows log and cos errors of 2⁻²¹ and 2⁻¹¹
 * (absolute), too coarse near their zeros; these polynomials are good to a few units in the last place.
 */
export const NORMAL = `
fn ln_unit(k: u32) -> f32 {
  let e = 31u - countLeadingZeros(k);
  // k = m·2ᵉ with m in [1, 2), then in [√½, √2].
  var m = f32(k) * bitcast<f32>((127u - e) << 23u);
  var whole = f32(e) - 24.0;
  if (m > 1.41421356) { m *= 0.5; whole += 1.0; }
  let s = (m - 1.0) / (m + 1.0);
  let z = s * s;
  // ln m = 2 artanh s
  return whole * 0.693147181 + 2.0 * s * (1.0 + z * (0.333333333 + z * (0.2 + z * (0.142857143 + z * 0.111111111))));
}
fn box_muller(a: u32, b: u32) -> vec2f {
  let r = sqrt(-2.0 * ln_unit((a >> 8u) + 1u));
  // The angle 2π·k·2⁻²⁴ as the nearest quarter turn and a rest in [−π/4, π/4].
  let k = b >> 8u;
  let quarter = (k + 0x200000u) >> 22u;
  let t = f32(i32(k) - i32(quarter << 22u)) * 3.74507028e-7;
  let z = t * t;
  let s = t * (1.0 + z * (-0.166666667 + z * (0.00833333333 + z * (-1.98412698e-4 + z * 2.75573192e-6))));
  let c = 1.0 + z * (-0.5 + z * (0.0416666667 + z * (-0.00138888889 + z * (2.48015873e-5 - z * 2.75573192e-7))));
  let turned = select(vec2f(c, s), vec2f(-s, c), (quarter & 1u) == 1u);
  return r * select(turned, -turned, (quarter & 2u) == 2u);
}`;

interface DrawTemplate<P> {
  readonly name: string;
  /** WGSL declarations beside PHILOX. */
  readonly declarations?: string;
  /** `w`, the four words, made into something else with four components: an expression for `v`. Default the words. */
  readonly values?: string;
  /** Expression of `v[j]` (written `$`), the input's element `x` where there is one, and `p.name`. */
  readonly wgsl: (type: 'f32' | 'i32' | 'u32') => string;
  readonly params: (type: 'f32' | 'i32' | 'u32') => readonly ParamSpec[];
  readonly numbers: (params: P) => readonly number[];
}

/** A kernel function for a template; inputs [state], or [x, state] with x contiguous and of the output's shape. */
function draws<P extends BlockParams>(t: DrawTemplate<P>): (call: KernelCall<P>) => Dispatch[] {
  const cache = new Map<string, Kernel>();
  return ({ inputs, outputs: [y], params }) => {
    const state = inputs[inputs.length - 1];
    const x = inputs.length > 1 ? inputs[0] : null;
    const type = wgslType(y.dtype);
    const n = numel(y.shape);
    const key = `${t.name}:${type}`;
    let kernel = cache.get(key);
    if (!kernel) {
      const scalar = scalarType(type);
      const one = (j: number) =>
        (j > 0 ? `if (i + ${j}u >= p.n) { return; }\n` : '') +
        (x ? `let x${j} = ${load(type, `x[p.x_offset + i + ${j}u]`)};\n` : '') +
        `y[p.y_offset + i + ${j}u] = ${store(type, t.wgsl(scalar).replaceAll('$', `v[${j}]`).replaceAll('@', `x${j}`))};`;
      kernel = {
        key,
        bindings: [
          ...(x ? [{ name: 'x', type, access: 'read' as const }] : []),
          STATE_BINDING,
          { name: 'y', type, access: 'read_write' },
        ],
        params: [
          { name: 'n', type: 'u32' },
          ...BLOCK_PARAMS,
          { name: 'y_offset', type: 'u32' },
          ...(x ? [{ name: 'x_offset', type: 'u32' as const }] : []),
          ...t.params(scalar),
        ],
        workgroupSize: WORKGROUP,
        enables: type === 'f16' ? ['f16'] : undefined,
        declarations: PHILOX + (t.declarations ?? ''),
        body: `let i = index * 4u;
if (i >= p.n) { return; }
let w = random_words(index);
let v = ${t.values ?? 'w'};
${[0, 1, 2, 3].map(one).join('\n')}`,
      };
      cache.set(key, kernel);
    }
    return [
      {
        kernel,
        buffers: [...(x ? [x.buffer] : []), state.buffer, y.buffer],
        params: [n, ...blockValues(params), y.offset, ...(x ? [x.offset] : []), ...t.numbers(params)],
        workgroups: workgroups(Math.ceil(n / 4)),
      },
    ];
  };
}

const words = new Uint32Array(4);
/** 2⁻²⁴: uniform numbers have as many bits as float32 has. */
const UNIT = 2 ** -24;

export interface UniformParams extends BlockParams {
  readonly low: number;
  readonly high: number;
  /** Random bits per number: 24, or 11 for float16, which would round more of them up to `high`. */
  readonly bits: number;
}

/** low + (high − low)·u, u uniform in [0, 1). */
export const uniformProgram: Program<UniformParams> = {
  name: 'rand',
  host([state], [y], params) {
    const { low, high, bits } = params;
    const { seed, counter } = randomState(state, params);
    const n = numel(y.shape);
    const span = high - low;
    const unit = 2 ** -bits;
    for (let i = 0; i < n; i += 4) {
      philox(counter + i / 4, seed, words);
      const end = Math.min(4, n - i);
      for (let j = 0; j < end; j++)
        y.data[y.offset + i + j] = low + span * ((words[j] >>> (32 - bits)) * unit);
    }
  },
  simdIntegers: true,
  simd(module, [state], [y], params) {
    const { low, high, bits } = params;
    const [s0, s1, c0, c1] = stateWords(module, state, params);
    module.uniform(numel(y.shape), y.pointer, s0, s1, c0, c1, low, high - low, 32 - bits, 2 ** -bits);
    return true;
  },
  kernel: draws<UniformParams>({
    name: 'rand',
    params: () => [
      { name: 'low', type: 'f32' },
      { name: 'span', type: 'f32' },
      { name: 'shift', type: 'u32' },
      { name: 'unit', type: 'f32' },
    ],
    wgsl: () => 'p.low + p.span * (f32($ >> p.shift) * p.unit)',
    numbers: ({ low, high, bits }) => [low, high - low, 32 - bits, 2 ** -bits],
  }),
};

export interface NormalParams extends BlockParams {
  readonly mean: number;
  readonly std: number;
}

/** mean + std·z by Box and Muller: z = √(−2 ln u₁)·(cos 2πu₂, sin 2πu₂), u₁ in (0, 1]. */
export const normalProgram: Program<NormalParams> = {
  name: 'randn',
  host([state], [y], params) {
    const { mean, std } = params;
    const { seed, counter } = randomState(state, params);
    const n = numel(y.shape);
    const at = y.offset;
    for (let i = 0; i < n; i += 2) {
      if (i % 4 === 0) philox(counter + i / 4, seed, words);
      const w = i % 4;
      const r = Math.sqrt(-2 * Math.log(((words[w] >>> 8) + 1) * UNIT));
      const angle = 2 * Math.PI * ((words[w + 1] >>> 8) * UNIT);
      y.data[at + i] = mean + std * (r * Math.cos(angle));
      if (i + 1 < n) y.data[at + i + 1] = mean + std * (r * Math.sin(angle));
    }
  },
  kernel: draws<NormalParams>({
    name: 'randn',
    declarations: NORMAL,
    values: 'vec4f(box_muller(w.x, w.y), box_muller(w.z, w.w))',
    params: () => [
      { name: 'mean', type: 'f32' },
      { name: 'deviation', type: 'f32' },
    ],
    wgsl: () => 'p.mean + p.deviation * $',
    numbers: ({ mean, std }) => [mean, std],
  }),
};

export interface IntegerParams extends BlockParams {
  readonly low: number;
  /** high − low, below 2³². */
  readonly range: number;
}

/** low + ⌊word·range / 2³²⌋: off from uniform by at most range / 2³². */
export const integerProgram: Program<IntegerParams> = {
  name: 'randint',
  host([state], [y], params) {
    const { low, range } = params;
    const { seed, counter } = randomState(state, params);
    const n = numel(y.shape);
    for (let i = 0; i < n; i++) {
      if (i % 4 === 0) philox(counter + i / 4, seed, words);
      y.data[y.offset + i] = low + mulHigh(words[i % 4], range);
    }
  },
  kernel: draws<IntegerParams>({
    name: 'randint',
    params: (type) => [
      { name: 'low', type },
      { name: 'range', type: 'u32' },
    ],
    wgsl: (type) => `p.low + ${type}(mul_high($, p.range))`,
    numbers: ({ low, range }) => [low, range],
  }),
};

/** p·2²⁴, rounded: a word's upper 24 bits lie below it with probability p. */
export function threshold(p: number): number {
  return Math.round(p * 2 ** 24);
}

export interface ChanceParams extends BlockParams {
  readonly p: number;
}

/** 1 with probability p, else 0. */
export const chanceProgram: Program<ChanceParams> = {
  name: 'bernoulli',
  host([state], [y], params) {
    const { seed, counter } = randomState(state, params);
    const n = numel(y.shape);
    const below = threshold(params.p);
    for (let i = 0; i < n; i++) {
      if (i % 4 === 0) philox(counter + i / 4, seed, words);
      y.data[y.offset + i] = words[i % 4] >>> 8 < below ? 1 : 0;
    }
  },
  kernel: draws<ChanceParams>({
    name: 'chance',
    params: () => [{ name: 'below', type: 'u32' }],
    wgsl: (type) => `select(${type}(0), ${type}(1), ($ >> 8u) < p.below)`,
    numbers: ({ p }) => [threshold(p)],
  }),
};

/** Host side of bernoulli: 1 where a uniform number lies below the input. */
export function bernoulliHost(
  [x, state]: readonly HostArray[],
  [y]: readonly HostArray[],
  params: BlockParams,
): void {
  const { seed, counter } = randomState(state, params);
  const n = numel(y.shape);
  for (let i = 0; i < n; i++) {
    if (i % 4 === 0) philox(counter + i / 4, seed, words);
    y.data[i] = (words[i % 4] >>> 8) * UNIT < x.data[x.offset + i] ? 1 : 0;
  }
}

/** u < x with NaN counted as 0. */
export const bernoulliKernel = draws<BlockParams>({
  name: 'bernoulli',
  params: () => [],
  wgsl: () => 'select(0.0, 1.0, bitcast<u32>(@) < 0x7fc00000u && f32($ >> 8u) * 5.9604644775390625e-8 < @)',
  numbers: () => [],
});

export interface DropoutParams extends BlockParams {
  readonly p: number;
}

/** What is left is scaled so that the mean stays; with p = 1 nothing is. */
function scaleOf(p: number): number {
  return p < 1 ? 1 / (1 - p) : 0;
}

/** Host side of dropout. */
export function dropoutHost(
  [x, state]: readonly HostArray[],
  [y]: readonly HostArray[],
  params: DropoutParams,
): void {
  const { seed, counter } = randomState(state, params);
  const n = numel(y.shape);
  const below = threshold(params.p);
  const scale = scaleOf(params.p);
  for (let i = 0; i < n; i += 4) {
    philox(counter + i / 4, seed, words);
    const end = Math.min(4, n - i);
    for (let j = 0; j < end; j++)
      y.data[i + j] = words[j] >>> 8 < below ? 0 : x.data[x.offset + i + j] * scale;
  }
}

/** WebAssembly side of dropout. */
export function dropoutSimd(
  module: SimdModule,
  [x, state]: readonly SimdView[],
  [y]: readonly SimdView[],
  params: DropoutParams,
): boolean {
  const [s0, s1, c0, c1] = stateWords(module, state, params);
  const { p } = params;
  module.dropout(numel(x.shape), x.pointer, y.pointer, s0, s1, c0, c1, threshold(p), scaleOf(p));
  return true;
}

/** y = 0 with probability p, else x / (1 − p). Reads and writes each element once; no mask is stored. */
export const dropoutKernel = draws<DropoutParams>({
  name: 'dropout',
  params: () => [
    { name: 'below', type: 'u32' },
    { name: 'scale', type: 'f32' },
  ],
  wgsl: () => 'select(@ * p.scale, 0.0, ($ >> 8u) < p.below)',
  numbers: ({ p }) => [threshold(p), scaleOf(p)],
});
