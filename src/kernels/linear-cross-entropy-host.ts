/** linear-cross-entropy.ts on the CPU: plain loops row by row, and WebAssembly chunk by chunk. */
import type { HostArray, SimdModule, SimdView } from '../device/types.js';
import { indexError } from './gather.js';
import {
  forEachChunk,
  type LinearClassBackwardParams,
  type LinearClassParams,
} from './linear-cross-entropy.js';

type Data = HostArray['data'];

/** Scores of row i into `to`. */
function scoresOf(
  x: HostArray,
  weight: HostArray,
  bias: HostArray | undefined,
  i: number,
  to: Float64Array,
): void {
  const [X, W] = [x.data, weight.data];
  const C = x.shape[1];
  const [xRow, xCol] = x.strides;
  const [wRow, wCol] = weight.strides;
  for (let v = 0; v < to.length; v++) {
    let a = x.offset + i * xRow;
    let b = weight.offset + v * wRow;
    let sum = bias ? bias.data[bias.offset + v] : 0;
    for (let c = 0; c < C; c++) {
      sum += X[a] * W[b];
      a += xCol;
      b += wCol;
    }
    to[v] = sum;
  }
}

export function linearCrossEntropyHost(
  [x, weight, targets, bias]: readonly HostArray[],
  [losses, stats]: readonly HostArray[],
  { ignoreIndex, smoothing }: LinearClassParams,
): void {
  const [N, words] = [x.shape[0], weight.shape[0]];
  const row = new Float64Array(words);
  for (let i = 0; i < N; i++) {
    scoresOf(x, weight, bias, i, row);
    let top = -Infinity;
    for (let v = 0; v < words; v++) if (row[v] > top) top = row[v];
    let sum = 0;
    for (let v = 0; v < words; v++) sum += Math.exp(row[v] - top);
    const lse = top + Math.log(sum);
    const named = targets.data[targets.offset + i];
    stats.data[i] = lse;
    const counts = named === ignoreIndex ? 0 : 1;
    stats.data[N + i] = stats.data[2 * N + i] = counts;
    losses.data[i] = 0;
    if (!counts) continue;
    if (!(named >= 0 && named < words)) throw indexError('linearCrossEntropy', words, named, i);
    let even = 0;
    if (smoothing > 0) for (let v = 0; v < words; v++) even += lse - row[v];
    losses.data[i] = (1 - smoothing) * (lse - row[named]) + (smoothing / words) * even;
  }
}

export function linearCrossEntropyBackwardHost(
  [g, x, weight, targets, stats, bias]: readonly HostArray[],
  outputs: readonly HostArray[],
  { ignoreIndex, smoothing, wants }: LinearClassBackwardParams,
): void {
  const out = outputs.map((o) => o.data);
  const dx = wants.x ? out.shift()! : null;
  const dWeight = wants.weight ? out.shift()! : null;
  const dBias = wants.bias ? out.shift()! : null;
  for (const o of outputs) o.data.fill(0);
  const [N, C] = x.shape;
  const words = weight.shape[0];
  const row = new Float64Array(words);
  const spread = smoothing / words;
  for (let i = 0; i < N; i++) {
    const named = targets.data[targets.offset + i];
    if (named === ignoreIndex) continue;
    const scale = g.data[g.offset + i * g.strides[0]];
    const lse = stats.data[stats.offset + i];
    scoresOf(x, weight, bias, i, row);
    for (let v = 0; v < words; v++) {
      const hit = v === named ? 1 - smoothing : 0;
      row[v] = scale * (Math.exp(row[v] - lse) - hit - spread);
    }
    if (dBias) for (let v = 0; v < words; v++) dBias[v] += row[v];
    const xRow = x.offset + i * x.strides[0];
    if (dx) combine(dx, i * C, row, weight, C);
    if (dWeight) spreadOut(dWeight, row, x.data, xRow, x.strides[1], C);
  }
}

/** dx[c] = Σᵥ row[v] · W[v, c] */
function combine(dx: Data, at: number, row: Float64Array, w: HostArray, C: number): void {
  const [step, col] = w.strides;
  for (let v = 0; v < row.length; v++) {
    const d = row[v];
    let b = w.offset + v * step;
    for (let c = 0; c < C; c++) {
      dx[at + c] += d * w.data[b];
      b += col;
    }
  }
}

/** dW[v, c] += row[v] · x[c] */
function spreadOut(dWeight: Data, row: Float64Array, X: Data, xRow: number, xCol: number, C: number): void {
  for (let v = 0; v < row.length; v++) {
    const d = row[v];
    const at = v * C;
    for (let c = 0; c < C; c++) dWeight[at + c] += d * X[xRow + c * xCol];
  }
}

/** Scores of a chunk, [N, count], to `y`. */
function chunkScores(
  module: SimdModule,
  [x, weight, bias]: readonly [SimdView, SimdView, SimdView | undefined],
  first: number,
  count: number,
  y: number,
  packed: number,
): void {
  const [N, C] = x.shape;
  const [wRow, wCol] = weight.strides;
  const w = weight.pointer + first * wRow * 4;
  module.matmul(N, count, C, x.pointer, x.strides[0], x.strides[1], w, wCol, wRow, y, count, packed);
  if (bias) {
    const b = bias.pointer + first * bias.strides[0] * 4;
    module.add(N, count, y, count, 1, b, 0, bias.strides[0], y);
  }
}

/** The classes of all rows, from WebAssembly memory. */
function readClasses(module: SimdModule, targets: SimdView): Int32Array {
  const classes = new Int32Array(targets.shape[0]);
  for (let i = 0; i < classes.length; i++) classes[i] = module.loadU32(targets.pointer + 4 * i) | 0;
  return classes;
}

export function linearCrossEntropySimd(
  module: SimdModule,
  [x, weight, targets, bias]: readonly SimdView[],
  [losses, stats]: readonly SimdView[],
  { ignoreIndex, smoothing, chunk }: LinearClassParams,
): boolean {
  const [N, C] = x.shape;
  const words = weight.shape[0];
  if (N * C === 0) return false;
  const classes = readClasses(module, targets);
  // The host names the class that is out of range.
  if (classes.some((t) => t !== ignoreIndex && !(t >= 0 && t < words))) return false;
  const chunks = Math.ceil(words / chunk);
  const y = module.scratch(N * chunk * 4);
  const packed = module.threadScratch(module.matmulScratchBytes(N, chunk, C));
  const zeros = module.scratch(N * 4);
  for (let i = 0; i < N; i++) module.storeF32(zeros + 4 * i, 0);
  const unused = module.scratch(N * 4);
  const three = module.scratch(3 * N * 4);
  // Log-sum-exps of all chunks, [chunks, N], then [N, chunks]; their log-sum-exp is that of all words.
  const parts = module.scratch(chunks * N * 4);
  const across = module.scratch(chunks * N * 4);
  const scores = new Float64Array(N);
  const totals = new Float64Array(N);
  forEachChunk(words, chunk, (first, count, i) => {
    chunkScores(module, [x, weight, bias], first, count, y, packed);
    module.crossEntropy(N, count, y, zeros, 0, -1, unused, three);
    module.copy(1, N, three, 0, 1, parts + i * N * 4);
    if (smoothing > 0) module.sumRows(N, count, y, count, 1, unused);
    for (let r = 0; r < N; r++) {
      const at = classes[r] - first;
      if (at >= 0 && at < count) scores[r] = module.loadF32(y + (r * count + at) * 4);
      if (smoothing > 0) totals[r] += module.loadF32(unused + 4 * r);
    }
  });
  module.copy(N, chunks, parts, 1, N, across);
  module.crossEntropy(N, chunks, across, zeros, 0, -1, unused, three);
  for (let r = 0; r < N; r++) {
    const lse = module.loadF32(three + 4 * r);
    const counts = classes[r] === ignoreIndex ? 0 : 1;
    const loss =
      (1 - smoothing) * (lse - scores[r]) + smoothing * (smoothing > 0 ? lse - totals[r] / words : 0);
    module.storeF32(losses.pointer + 4 * r, counts ? loss : 0);
    module.storeF32(stats.pointer + 4 * r, lse);
    module.storeF32(stats.pointer + 4 * (N + r), counts);
    module.storeF32(stats.pointer + 4 * (2 * N + r), counts);
  }
  return true;
}

export function linearCrossEntropyBackwardSimd(
  module: SimdModule,
  [g, x, weight, targets, stats, bias]: readonly SimdView[],
  outputs: readonly SimdView[],
  { ignoreIndex, smoothing, chunk, wants }: LinearClassBackwardParams,
): boolean {
  const [N, C] = x.shape;
  const words = weight.shape[0];
  if (N * C === 0) return false;
  const out = outputs.map((o) => o.pointer);
  const dx = wants.x ? out.shift()! : 0;
  const dWeight = wants.weight ? out.shift()! : 0;
  const dBias = wants.bias ? out.shift()! : 0;
  const classes = readClasses(module, targets);
  const y = module.scratch(N * chunk * 4);
  const most = Math.max(
    module.matmulScratchBytes(N, chunk, C),
    dx ? module.matmulScratchBytes(N, C, chunk) : 0,
    dWeight ? module.matmulScratchBytes(chunk, C, N) : 0,
  );
  const packed = module.threadScratch(most);
  const partial = dx ? module.scratch(N * C * 4) : 0;
  // Ignored rows: gradient 0, and a log-sum-exp above every score.
  const scales = module.scratch(N * 4);
  const lse = module.scratch(N * 4);
  const spread = module.scratch(N * 4);
  const scale = new Float64Array(N);
  for (let r = 0; r < N; r++) {
    const counts = classes[r] !== ignoreIndex;
    scale[r] = counts ? module.loadF32(g.pointer + 4 * r * g.strides[0]) : 0;
    module.storeF32(scales + 4 * r, scale[r]);
    module.storeF32(lse + 4 * r, counts ? module.loadF32(stats.pointer + 4 * r) : 3e38);
    module.storeF32(spread + 4 * r, (scale[r] * smoothing) / words);
  }
  const [wRow, wCol] = weight.strides;
  forEachChunk(words, chunk, (first, count) => {
    chunkScores(module, [x, weight, bias], first, count, y, packed);
    module.sub(N, count, y, count, 1, lse, 1, 0, y);
    module.exp(1, N * count, y, 0, 1, y);
    module.mul(N, count, y, count, 1, scales, 1, 0, y);
    if (smoothing > 0) module.sub(N, count, y, count, 1, spread, 1, 0, y);
    for (let r = 0; r < N; r++) {
      const hit = classes[r] - first;
      if (hit < 0 || hit >= count || classes[r] === ignoreIndex) continue;
      const at = y + (r * count + hit) * 4;
      module.storeF32(at, module.loadF32(at) - scale[r] * (1 - smoothing));
    }
    if (dBias) module.sumRows(count, N, y, 1, count, dBias + first * 4);
    if (dWeight) {
      const to = dWeight + first * C * 4;
      module.matmul(count, C, N, y, 1, count, x.pointer, x.strides[0], x.strides[1], to, C, packed);
    }
    if (dx) {
      const to = first === 0 ? dx : partial;
      const w = weight.pointer + first * wRow * 4;
      module.matmul(N, C, count, y, count, 1, w, wRow, wCol, to, C, packed);
      if (to === partial) module.add(1, N * C, dx, 0, 1, partial, 0, 1, dx);
    }
  });
  return true;
}
