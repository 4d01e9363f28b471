// biome-ignore-all format: the signatures of SimdModule are laid out operand by operand
/**
 * The seam between the engine and its devices. A device knows buffers and programs, and no tensors.
 *
 * Everything above calls `device.execute(program, inputs, outputs, params)`. The WebGPU device runs
 * `program.kernel`, which returns WGSL dispatches; the CPU device runs `program.host` (or `program.simd`, where the
 * WebAssembly module covers the case). Nothing above this folder asks which of the two it is.
 */
import type { DType, HostData } from './dtype.js';
import type { Phase } from './tracing.js';

/** One allocation of a device's pool. Opaque above the device. */
export interface DeviceBuffer {
  readonly device: Device;
  /** Bytes asked for; the pool may have rounded up. A multiple of 4. */
  readonly bytes: number;
}

/** A strided window onto a buffer. Strides and offset count elements; stride 0 repeats an element. */
export interface View {
  readonly buffer: DeviceBuffer;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/**
 * A view in host memory, as `Program.host` gets it: element (i, j, …) is `data[offset + i·strides[0] + j·strides[1] + …]`.
 * Never float16: the CPU device widens float16 to float32 before the call and rounds the outputs afterwards.
 */
export interface HostArray {
  readonly data: Exclude<HostData, Uint16Array>;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** What every op gives a device to run. */
export interface Program<P = unknown> {
  readonly name: string;
  /** The reference implementation: plain loops. Outputs are contiguous with offset 0, contents undefined before. */
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: P): void;
  /** WGSL dispatches that compute the same. */
  kernel(call: KernelCall<P>): readonly Dispatch[];
  /** A float32 WebAssembly path; returns false where it does not cover the case, and `host` runs instead. */
  simd?(module: SimdModule, inputs: readonly SimdView[], outputs: readonly SimdView[], params: P): boolean;
  /** `simd` takes and gives int32, uint32 and bool beside float32; unless it says so, it is only called without. */
  readonly simdIntegers?: true;
  /**
   * What the profiler counts. Without it: an operation per element of the outputs, and every view's bytes once. Say it for
   * products, and where views are read in part or outputs are read as well.
   */
  work?(inputs: readonly View[], outputs: readonly View[], params: P): Work;
}

/** Arithmetic operations, and bytes read and written, of one run of a program. */
export interface Work {
  readonly operations: number;
  readonly bytes?: number;
}

/** What a kernel function may know when it chooses its WGSL. */
export interface KernelCall<P = unknown> {
  readonly inputs: readonly View[];
  readonly outputs: readonly View[];
  readonly params: P;
  readonly target: KernelTarget;
  /** A buffer for intermediate results, back in the pool once these dispatches are recorded. */
  scratch(bytes: number): DeviceBuffer;
}

/** The traits of an adapter that kernels may specialise on. */
export interface KernelTarget {
  /** `software` adapters run each workgroup on one CPU core: barriers are dear there and shared memory is no gain. */
  readonly kind: 'gpu' | 'software';
  /** `shader-f16`: float16 tensors are bound as array<f16>. Without it the device widens them to float32 beforehand. */
  readonly f16: boolean;
  /**
   * Every place of a shader that reads or writes memory compiles for 10 to 20 ms, for four times that if it is a vector: so on
   * Mesa's lavapipe. Fewer places are worth more there than vectors and unrolled loops, where little is computed.
   */
  readonly dearPlaces?: boolean;
  readonly subgroups: boolean;
  readonly maxStorageBuffers: number;
  /** Most bytes that one binding holds: larger buffers take several of `maxStorageBuffers`. Default: no limit. */
  readonly bindingLimit?: number;
  /** The shapes that the adapter's matrix units multiply, D[M×N] += A[M×K] · B[K×N]; missing where it has none. */
  readonly subgroupMatrix?: readonly SubgroupMatrix[];
  /** Invocations of a subgroup, where all have the same number. */
  readonly subgroupSize?: number;
}

/** One shape of `chromium-experimental-subgroup-matrix`: types of the factors and of the result. */
export interface SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** WGSL types of storage elements. bool is u32 (0 or 1). */
export type WgslType = 'f32' | 'f16' | 'i32' | 'u32';

/** The WGSL storage type of a dtype. */
export function wgslType(dtype: DType): WgslType {
  switch (dtype) {
    case 'float32':
      return 'f32';
    case 'float16':
      return 'f16';
    case 'int32':
      return 'i32';
    case 'uint32':
    case 'bool':
      return 'u32';
    case 'float64':
      throw new Error('wgslType: float64 does not exist in WGSL');
  }
}

/**
 * One compute shader. The device writes the declarations: `name: array<type>` for each binding, `p.name` for each
 * parameter (an immediate or a uniform, as the adapter has it), and the entry point around `body`, in which
 *
 *     local:  u32    index of the invocation in its workgroup
 *     group:  u32    index of the workgroup (folded over dimensions beyond 65,535)
 *     index:  u32    group × workgroup size + local
 *
 * are defined; with `enables: ['subgroups']` also `subgroup_invocation_id` and `subgroup_size`. Bindings are whole pooled
 * buffers, so arrayLength() is not the tensor's: pass lengths as parameters. The
 * `bindings` marked `read_write` are written, the others read; WebGPU forbids one buffer bound both ways.
 */
export interface Kernel {
  /** Identifies the WGSL with all that it is specialised on: equal keys must mean equal text. */
  readonly key: string;
  readonly bindings: readonly { readonly name: string; readonly type: WgslType | 'vec4<f32>' | 'vec4<f16>' | `atomic<${'u32' | 'i32'}>`; readonly access: 'read' | 'read_write' }[];
  /** Scalar parameters, in order; all four bytes wide. */
  readonly params: readonly { readonly name: string; readonly type: 'u32' | 'i32' | 'f32' }[];
  readonly workgroupSize: number;
  /** Functions, constants and workgroup variables at module scope. */
  readonly declarations?: string;
  /** Statements of `main`. */
  readonly body: string;
  readonly enables?: readonly ('f16' | 'subgroups' | 'chromium_experimental_subgroup_matrix')[];
}

/** One recorded use of a kernel. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** One per binding of the kernel, in order. */
  readonly buffers: readonly DeviceBuffer[];
  /** One per parameter of the kernel, in order. */
  readonly params: readonly number[];
  /** How many workgroups, any number; the device folds what one dimension does not hold. 0 records nothing. */
  readonly workgroups: number;
}

/** A view in WebAssembly memory: `pointer` is the byte address of its first element. */
export interface SimdView {
  readonly pointer: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/**
 * y = f(x) over rows × columns of float32: x with any strides (elements; 0 repeats), y contiguous. Addresses in bytes.
 * y may be x where x is contiguous too.
 */
export type SimdUnary = (rows: number, columns: number, x: number, xRow: number, xCol: number, y: number) => void;

/** y = f(a, b), as `SimdUnary`. */
export type SimdBinary = (
  rows: number, columns: number,
  a: number, aRow: number, aCol: number,
  b: number, bRow: number, bCol: number,
  y: number,
) => void;

/** y = f(x) with two parameters, as `SimdUnary`. */
export type SimdUnaryWith = (
  rows: number, columns: number, x: number, xRow: number, xCol: number, y: number, p: number, q: number,
) => void;

/** y = f(a, b) with two parameters, as `SimdBinary`. */
export type SimdBinaryWith = (
  rows: number, columns: number,
  a: number, aRow: number, aCol: number,
  b: number, bRow: number, bCol: number,
  y: number, p: number, q: number,
) => void;

/**
 * The exports of the CPU device's WebAssembly module; grows with its kernels. All float32; addresses in bytes, sizes and
 * strides in elements.
 */
export interface SimdModule {
  /**
   * C[M×N] = A[M×K] · B[K×N], any strides for A and B, C with row stride `ldc` and unit column stride.
   * `scratch` holds the packed panels: at least `matmulScratchBytes(m, n, k)` bytes, for threads from `threadScratch`.
   */
  matmul(
    m: number, n: number, k: number,
    a: number, aRow: number, aCol: number,
    b: number, bRow: number, bCol: number,
    c: number, ldc: number,
    scratch: number,
  ): void;
  matmulScratchBytes(m: number, n: number, k: number): number;
  /** One word of the memory; as the JavaScript engine has it, the unsigned one may come negative. */
  loadU32(at: number): number;
  loadF32(at: number): number;
  storeF32(at: number, value: number): void;
  /** Pooled scratch in the module's memory, valid until the running program is done. */
  scratch(bytes: number): number;
  /** As `scratch`, with `bytes` for every thread: for the arguments that kernels need one of per thread. */
  threadScratch(bytes: number): number;
  /** How many threads there are. Results do not depend on it. */
  readonly threads: number;
  /**
   * Runs `calls`, whose calls of this module must not depend on each other: they may run later, in any order and at the
   * same time, but have all run when this returns. For many calls that are too small for threads each.
   */
  together(calls: () => void): void;

  // Exact, or correctly rounded: the same bits as the host's float32 results.
  readonly neg: SimdUnary;
  readonly abs: SimdUnary;
  readonly sqrt: SimdUnary;
  readonly reciprocal: SimdUnary;
  readonly relu: SimdUnary;
  readonly add: SimdBinary;
  readonly sub: SimdBinary;
  readonly mul: SimdBinary;
  readonly div: SimdBinary;
  /** NaN where either is NaN, as PyTorch. */
  readonly maximum: SimdBinary;
  readonly minimum: SimdBinary;

  // Within 3 ulp; gelu and its slope within 3 ulp of max(|x|, 1).
  readonly exp: SimdUnary;
  readonly log: SimdUnary;
  readonly sigmoid: SimdUnary;
  readonly silu: SimdUnary;
  readonly tanh: SimdUnary;
  readonly erf: SimdUnary;
  readonly gelu: SimdUnary;
  readonly geluTanh: SimdUnary;
  /** y = a · gelu′(b): a is the gradient, b gelu's input. */
  readonly geluBackward: SimdBinary;
  readonly geluTanhBackward: SimdBinary;
  readonly siluBackward: SimdBinary;
  /** y = a where b > 0, else 0. */
  readonly reluBackward: SimdBinary;
  /** y = a · f′, computed from b = f(x). */
  readonly tanhBackward: SimdBinary;
  readonly sigmoidBackward: SimdBinary;
  /** y = x · factor, contiguous; y may be x. */
  scale(count: number, x: number, factor: number, y: number): void;

  /** y = x, made contiguous; transpositions go block by block. */
  readonly copy: SimdUnary;
  /** y[i] = Σⱼ x[i, j]; exchange the strides for sums of columns. y has `rows` elements. */
  readonly sumRows: SimdUnary;
  /** Σ x² of contiguous elements, accumulated in float64. */
  sumSquares(count: number, x: number): number;

  // Along the rows of contiguous matrices.
  softmax(rows: number, columns: number, x: number, y: number): void;
  logSoftmax(rows: number, columns: number, x: number, y: number): void;
  /** dx = y · (g − Σⱼ gⱼyⱼ). */
  softmaxBackward(rows: number, columns: number, y: number, g: number, dx: number): void;
  /** dx = g − eʸ · Σⱼ gⱼ, y being the log-softmax. */
  logSoftmaxBackward(rows: number, columns: number, y: number, g: number, dx: number): void;
  /**
   * losses = w · (log Σⱼ eˣʲ − xₜ) for the class t of each row, 0 where it is `ignore`; stats: the log-sum-exp, w, w ([3, rows]).
   * w is 1 where `weight` is address 0. False for a class out of range.
   */
  crossEntropy(
    rows: number, classes: number,
    x: number, targets: number, weight: number, ignore: number,
    losses: number, stats: number,
  ): boolean;
  /** dx = g · w · (softmax x − [t]); `gStep` is the stride of g. */
  crossEntropyBackward(
    rows: number, classes: number,
    g: number, gStep: number, x: number, targets: number, stats: number, ignore: number,
    dx: number,
  ): void;
  /** y = (x − mean) · rstd · weight + bias. Address 0: no weight, no bias, mean or rstd (`rows` elements) not wanted. */
  layerNorm(
    rows: number, columns: number,
    x: number, weight: number, bias: number, eps: number,
    y: number, mean: number, rstd: number,
  ): void;
  /** Gradients of `layerNorm`. Address 0: no weight, or a gradient that is not wanted. */
  layerNormBackward(
    rows: number, columns: number,
    x: number, weight: number, mean: number, rstd: number, g: number,
    dx: number, dWeight: number, dBias: number,
  ): void;

  // Recurrent layers over whole sequences: step s of sequence b is row first + b·rowB + s·rowT of the arrays over all steps;
  // `packed` has the weights packed, or is 0 where they are read as they are; `own` is from `threadScratch`.
  recurrentPack(gates: number, H: number, weight: number, target: number): void;
  recurrentPackBackward(gates: number, H: number, weight: number, target: number): void;
  lstm(
    B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    xp: number, h0: number, h0Row: number, h0Col: number, weight: number, packed: number,
    c0: number, c0Row: number, c0Col: number,
    out: number, acts: number, c: number, own: number,
  ): void;
  lstmBackward(
    B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    dOut: number, dLast: number, dLastRow: number, dLastCol: number, acts: number,
    c0: number, c0Row: number, c0Col: number, weight: number, packed: number,
    dx: number, dh: number, dc: number, own: number,
  ): void;
  gru(
    B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    xp: number, h0: number, h0Row: number, h0Col: number, weight: number, packed: number, bias: number,
    out: number, acts: number, own: number,
  ): void;
  gruBackward(
    B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    dOut: number, acts: number, weight: number, packed: number,
    dp: number, dh: number, dx: number, own: number,
  ): void;
  rnn(
    relu: number, B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    xp: number, h0: number, h0Row: number, h0Col: number, weight: number, packed: number,
    out: number, acts: number, own: number,
  ): void;
  rnnBackward(
    relu: number, B: number, T: number, H: number, first: number, rowB: number, rowT: number,
    dOut: number, states: number, weight: number, packed: number,
    dx: number, dh: number, own: number,
  ): void;

  /**
   * One AdamW step in place: p ← p·decay; m ← m + (1 − β₁)(g − m); v ← β₂v + (1 − β₂)g²;
   * p ← p − stepSize · m / (√v · rootScale + eps), with decay = 1 − lr·λ, stepSize = lr / (1 − β₁ᵗ),
   * rootScale = 1 / √(1 − β₂ᵗ).
   */
  adamw(
    count: number, p: number, g: number, m: number, v: number,
    beta1: number, beta2: number, eps: number, decay: number, stepSize: number, rootScale: number,
  ): void;

  // Exact, or correctly rounded.
  readonly square: SimdUnary;
  readonly sign: SimdUnary;
  readonly floor: SimdUnary;
  readonly ceil: SimdUnary;
  /** To the nearest whole number, halves to the even one. */
  readonly round: SimdUnary;
  readonly trunc: SimdUnary;
  /** min(max(x, p), q); NaN stays. */
  readonly clamp: SimdUnaryWith;
  /** x where x > 0, else p · x. */
  readonly leakyRelu: SimdUnaryWith;
  /** Words of 0 and 1. */
  readonly eq: SimdBinary;
  readonly ne: SimdBinary;
  readonly lt: SimdBinary;
  readonly le: SimdBinary;
  /** The same of int32; `eqInt` and `neInt` of any words. */
  readonly eqInt: SimdBinary;
  readonly neInt: SimdBinary;
  readonly ltInt: SimdBinary;
  readonly leInt: SimdBinary;
  /** Bit by bit. */
  readonly and: SimdBinary;
  readonly or: SimdBinary;
  readonly xor: SimdBinary;
  /** y = a where the word c is not 0, else b, for words of any type. */
  where(
    rows: number, columns: number,
    c: number, cRow: number, cCol: number,
    a: number, aRow: number, aCol: number,
    b: number, bRow: number, bCol: number,
    y: number,
  ): void;
  // Within 3 ulp; pow within 1, with the special cases of C.
  readonly rsqrt: SimdUnary;
  readonly log1p: SimdUnary;
  readonly expm1: SimdUnary;
  readonly sin: SimdUnary;
  readonly cos: SimdUnary;
  readonly pow: SimdBinary;
  /** x where x > 0, else p · (eˣ − 1). */
  readonly elu: SimdUnaryWith;
  /** log(1 + e^(p·x)) / p; x itself where p · x > q. */
  readonly softplus: SimdUnaryWith;
  /** y = a · f′(b). */
  readonly clampBackward: SimdBinaryWith;
  readonly leakyReluBackward: SimdBinaryWith;
  readonly eluBackward: SimdBinaryWith;
  readonly softplusBackward: SimdBinaryWith;

  // y[i] from row i of x, for any strides; exchange the strides for columns. NaN wins in extremes.
  readonly sumAbs: SimdUnary;
  /** √(Σ x²) */
  readonly norm: SimdUnary;
  readonly countNonZero: SimdUnary;
  readonly maxOf: SimdUnary;
  readonly minOf: SimdUnary;
  readonly maxAbs: SimdUnary;
  readonly minAbs: SimdUnary;
  /** As int32: the first of equals, the first NaN if there is one. */
  readonly argmax: SimdUnary;
  readonly argmin: SimdUnary;
  readonly logSumExp: SimdUnary;
  /** Σ (x − mean)² / max(columns − correction, 0), or its root. */
  variance(
    rows: number, columns: number, x: number, xRow: number, xCol: number, y: number, correction: number, root: boolean,
  ): void;
  /** Running sums of rows, or from their ends; x and y have the same strides. */
  cumsum(rows: number, columns: number, x: number, y: number, row: number, column: number, reverse: boolean): void;
  /** y = x · rstd · weight, row by row. Address 0: no weight. */
  rmsNorm(rows: number, columns: number, x: number, weight: number, eps: number, y: number, rstd: number): void;
  rmsNormBackward(
    rows: number, columns: number, x: number, weight: number, rstd: number, g: number, dx: number,
  ): void;
  /** dWeight = Σ g · x · rstd and dBias = Σ g over rows, which are `stride` elements apart. Address 0 leaves one out. */
  rmsNormAffine(
    rows: number, columns: number, stride: number, x: number, rstd: number, g: number, dWeight: number, dBias: number,
  ): void;

  /** y = value, as a 32-bit word. */
  fillWords(count: number, y: number, value: number): void;
  /** y = x for any strides of both, words of any type. */
  copyStrided(
    rows: number, columns: number,
    x: number, xRow: number, xCol: number,
    y: number, yRow: number, yCol: number,
  ): void;
  /** y[k] = row index[k] of the `size` rows of x, 0 where the index is `skip` (−1: none). False for an index out of range. */
  selectRows(count: number, width: number, x: number, size: number, index: number, skip: number, y: number): boolean;
  /** y = 0, then row index[k] of y += row k of x, in order; rows `xRow` and `yRow` apart. False for an index out of range. */
  addRows(
    count: number, width: number,
    x: number, xRow: number, index: number, size: number, skip: number,
    y: number, yRow: number,
  ): boolean;
  /** Contiguous float16 to float32, exactly, and back, to nearest with ties to even. */
  widenFloat16(count: number, x: number, y: number): void;
  narrowFloat16(count: number, x: number, y: number): void;

  /**
   * o = softmax(scale · q·kᵀ) · v of several heads, and lse, the log-sum-exp of each query's scores. Query i stands at
   * `first` + i among the keys and sees those from `left` before it to `right` after it, but none whose word in `mask`
   * (address 0: none) is 0. A query that sees nothing gives NaN, or 0 where `zeroEmpty`, and lse 0.
   */
  attentionForward(
    heads: number, queries: number, keys: number, dim: number, vDim: number,
    q: number, qHead: number, qRow: number,
    k: number, kHead: number, kRow: number,
    v: number, vHead: number, vRow: number,
    mask: number, scale: number, first: number, left: number, right: number, zeroEmpty: boolean,
    o: number, oHead: number, oRow: number, lse: number, lseHead: number,
    scratch: number,
  ): void;
  /** Gradients of `attentionForward`; g has the strides of o. Address 0 leaves dk and dv out. */
  attentionBackward(
    heads: number, queries: number, keys: number, dim: number, vDim: number,
    q: number, qHead: number, qRow: number,
    k: number, kHead: number, kRow: number,
    v: number, vHead: number, vRow: number,
    mask: number, scale: number, first: number, left: number, right: number,
    o: number, g: number, oHead: number, oRow: number, lse: number, lseHead: number,
    dq: number, dqHead: number, dqRow: number,
    dk: number, dkHead: number, dkRow: number,
    dv: number, dvHead: number, dvRow: number,
    scratch: number,
  ): void;
  /** `attentionForward` of a single query per head that sees all keys given. */
  attentionRow(
    heads: number, keys: number, dim: number, vDim: number,
    q: number, qHead: number,
    k: number, kHead: number, kRow: number,
    v: number, vHead: number, vRow: number,
    mask: number, scale: number, zeroEmpty: boolean,
    o: number, oHead: number, lse: number, scratch: number,
  ): void;
  attentionScratchBytes(dim: number): number;
  attentionBackwardScratchBytes(dim: number, vDim: number): number;
  attentionRowScratchBytes(keys: number): number;

  /** y[rows × n] = x[rows × k] · Wᵀ with W in blocks of int8 codes / 127 times a scale. */
  matmulInt8(
    rows: number, n: number, k: number,
    x: number, xRow: number, w: number, wRow: number, scales: number, sRow: number, block: number,
    y: number, yRow: number, scratch: number,
  ): void;
  /** The same with 4-bit codes, the first of a byte in its high half, of the 16 floats at `codes`. */
  matmulNF4(
    rows: number, n: number, k: number,
    x: number, xRow: number, w: number, wRow: number, scales: number, sRow: number, block: number, codes: number,
    y: number, yRow: number, scratch: number,
  ): void;
  /** `columns` columns from `first` (multiples of 16) of y[rows × k] = g[rows × n] · W. */
  matmulTransposedInt8(
    rows: number, n: number, k: number, first: number, columns: number,
    g: number, gRow: number, w: number, wRow: number, scales: number, sRow: number, block: number,
    y: number, yRow: number, scratch: number,
  ): void;
  matmulTransposedNF4(
    rows: number, n: number, k: number, first: number, columns: number,
    g: number, gRow: number, w: number, wRow: number, scales: number, sRow: number, block: number, codes: number,
    y: number, yRow: number, scratch: number,
  ): void;
  quantizedScratchBytes(k: number): number;
  /** `count` scales from int8 codes: groups[0] + groups[1 + i / 256] · code / 127. */
  decodeScales(count: number, codes: number, groups: number, target: number): void;

  /**
   * y[r, o] = bias[o] + Σ weights[wires[j]] · x[r, sources[j]] over starts[o] ≤ j < starts[o + 1], rows of y `yRow` apart; x in
   * columns, `stride` (a multiple of 16) apart. `total` wires in all. Address 0: no bias, or wires in order. `sums` is scratch
   * of outputs · stride floats.
   */
  sparseSums(
    outputs: number, total: number, rows: number, stride: number,
    x: number, starts: number, sources: number, wires: number, weights: number, bias: number,
    sums: number, y: number, yRow: number,
  ): void;
  /** y[j] += Σ g[r, targets[j]] · x[r, sources[j]] over rows; g and x in columns as above. */
  sparseDots(
    count: number, rows: number, stride: number,
    g: number, x: number, targets: number, sources: number, y: number,
  ): void;

  /** y ← y + x · factor */
  addScaled(count: number, x: number, factor: number, y: number): void;
  /** p ← p − lr · (g + decay · p) */
  sgd(count: number, p: number, g: number, lr: number, decay: number): void;
  /** d = g + decay · p; b ← momentum · b + fresh · d; p ← p − lr · b, or p − lr · (d + momentum · b) where `nesterov`. */
  sgdMomentum(
    count: number, p: number, g: number, b: number,
    lr: number, decay: number, momentum: number, fresh: number, nesterov: boolean,
  ): void;
  /** As `adamw`, with the L2 penalty added to the gradient instead: d = g + penalty · p. */
  adam(
    count: number, p: number, g: number, m: number, v: number,
    beta1: number, beta2: number, eps: number, penalty: number, stepSize: number, rootScale: number,
  ): void;

  // Philox numbers of contiguous elements; seed and counter as two words each, the low one first.
  /** y = x·scale where the upper 24 bits of the element's random word are at least `below`, else 0; y may be x. */
  dropout(
    count: number, x: number, y: number,
    seedLow: number, seedHigh: number, counterLow: number, counterHigh: number,
    below: number, scale: number,
  ): void;
  /** y = start + span · (word >>> shift) · unit. */
  uniform(
    count: number, y: number,
    seedLow: number, seedHigh: number, counterLow: number, counterHigh: number,
    start: number, span: number, shift: number, unit: number,
  ): void;
}

/** What a device says about itself. */
export interface DeviceInfo {
  /** 'webgpu' or 'cpu'; for printing, never for branching. */
  readonly kind: string;
  /** E.g. 'NVIDIA H200', 'SwiftShader Device (LLVM 10.0.0)', 'CPU (WebAssembly SIMD)'. */
  readonly name: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/** Counts of a device's memory pool, in bytes and buffers. */
export interface MemoryStats {
  /** Bytes of the buffers now handed out, as rounded by the pool. */
  readonly liveBytes: number;
  readonly peakBytes: number;
  readonly liveBuffers: number;
  /** Bytes in the pool that wait for reuse. */
  readonly idleBytes: number;
}

/** What a device has done so far. */
export interface DeviceStats {
  /** Dispatches recorded (WebGPU) or programs run (CPU). */
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
  readonly bindGroupsCreated: number;
  /** CPU time spent recording and encoding, in ms: our own work plus the API's. */
  readonly recordMs: number;
  readonly encodeMs: number;
}

/** Notes what a device does, from `Device.capture()` to `end()`. The work is done as well. */
export interface Capture {
  /** Runs `fn` without noting its work, which is then not repeated. */
  untracked<R>(fn: () => R): R;
  /**
   * Ends, and prepares what was noted. Buffers allocated and freed meanwhile are placed anew, several in one block
   * where their times of use allow it; all others keep their place. What the host wrote meanwhile is written again only
   * where the work overwrites it.
   */
  end(): Recording;
  /** Ends without a result. */
  abort(): void;
}

/** Work of a device that can be repeated as it was. */
export interface Recording {
  /** Dispatches (WebGPU) or programs (CPU) of one replay. */
  readonly dispatches: number;
  /** Bytes of the blocks that hold intermediate results. */
  readonly bytes: number;
  /** A buffer that it uses was freed: it cannot be replayed any more. */
  readonly stale: boolean;
  /** Does everything again, in order with all other work. Never waits. */
  replay(): void;
  /** Gives its memory back. Idempotent. */
  release(): void;
}

/** A dispatch (WebGPU) or a program (CPU) as it ran. */
export interface ProfiledDispatch {
  readonly op: string;
  /** The kernel's key; on the CPU device `simd` or `host`. */
  readonly kernel: string;
  /** The part of the step that recorded it. */
  readonly phase: Phase;
  readonly bytes: number;
  readonly operations: number;
  /** In ms, on the clock of performance.now(). */
  readonly start: number;
  readonly duration: number;
}

/** Times what a device runs, from `Device.profile()` to `end()`. */
export interface Profiling {
  /** How times are taken; wall-clock times of a GPU's dispatches, run one by one, include submitting and waiting. */
  readonly clock: 'timestamp queries' | 'wall clock';
  /** Waits for everything executed meanwhile, and ends. @throws DeviceError as `synchronize`. */
  end(): Promise<ProfiledDispatch[]>;
}

export interface Device {
  readonly info: DeviceInfo;
  /** dtypes that tensors can have here. */
  readonly dtypes: ReadonlySet<DType>;
  /** A buffer from the pool, contents undefined. @throws DeviceError where the memory or the device's limits do not allow it; `op` names the asker. */
  allocate(bytes: number, op: string): DeviceBuffer;
  /** Gives a buffer back to the pool. Work recorded before may still use it: the queue keeps the order. */
  free(buffer: DeviceBuffer): void;
  /** Copies host bytes into a buffer, in order with everything executed before and after. `data` may be reused at once. */
  write(buffer: DeviceBuffer, data: ArrayBufferView, byteOffset?: number): void;
  /** Copies `bytes` (multiple of 4) from a buffer once all that was executed before is done. @throws DeviceError for any failure since the last await. */
  read(buffer: DeviceBuffer, byteOffset: number, bytes: number): Promise<ArrayBuffer>;
  /** Runs a program, now or later, in order. Never waits. */
  execute<P>(program: Program<P>, inputs: readonly View[], outputs: readonly View[], params: P): void;
  /** Starts to note everything written and executed. @throws DeviceError while another capture is under way. */
  capture(): Capture;
  /** Starts to time what is executed. @throws DeviceError while another profile is under way. */
  profile(): Profiling;
  /** Resolves when everything executed so far is done. @throws DeviceError as `read`. */
  synchronize(): Promise<void>;
  memory(): MemoryStats;
  /** Sets the peak back to what is live. */
  resetPeak(): void;
  stats(): DeviceStats;
  /** Waits for the work under way and gives everything back. Using the device afterwards throws DeviceError. Idempotent. */
  close(): Promise<void>;
}
