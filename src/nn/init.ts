/** Initialisers: fill a tensor in place, without a gradient. Random ones draw from the default generator. */
import { noGrad } from '../autograd/mode.js';
import { executeInPlace } from '../autograd/op.js';
import { normal_ as drawNormal, uniform_ as drawUniform } from '../autograd/ops/random.js';
import { ShapeError } from '../device/errors.js';
import { copyProgram } from '../kernels/copy.js';
import { constant, fromHost } from '../tensor/factories.js';
import { scope } from '../tensor/lifetime.js';
import { defaultGenerator, philox } from '../tensor/random.js';
import { formatShape, numel } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';

/** What follows a layer, as far as the spread of its weights is concerned. */
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

/** Fills with uniform numbers in [a, b), [0, 1) by default. @source torch.nn.init.uniform_ */
export function uniform_<T extends Tensor>(t: T, { a = 0, b = 1 }: { a?: number; b?: number } = {}): T {
  noGrad(() => drawUniform(t, a, b));
  return t;
}

/** Fills with normal numbers, of mean 0 and deviation 1 by default. @source torch.nn.init.normal_ */
export function normal_<T extends Tensor>(
  t: T,
  { mean = 0, std = 1 }: { mean?: number; std?: number } = {},
): T {
  noGrad(() => drawNormal(t, mean, std));
  return t;
}

/** Fills with one value. @source torch.nn.init.constant_ */
export function constant_<T extends Tensor>(t: T, value: number): T {
  executeInPlace(copyProgram, [constant(value, t.dtype, t.device)], [t], null);
  return t;
}

/** Fills with 0. @source torch.nn.init.zeros_ */
export function zeros_<T extends Tensor>(t: T): T {
  return constant_(t, 0);
}

/** Fills with 1. @source torch.nn.init.ones_ */
export function ones_<T extends Tensor>(t: T): T {
  return constant_(t, 1);
}

/**
 * The factor by which a nonlinearity asks the deviation of the weights before it to grow.
 *
 * @param param the negative slope of leakyRelu, default 0.01
 * @source torch.nn.init.calculate_gain
 */
export function calculateGain(nonlinearity: Nonlinearity, param = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'sigmoid':
      return 1;
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.SQRT2;
    case 'leakyRelu':
      return Math.sqrt(2 / (1 + param * param));
    case 'selu':
      return 3 / 4;
  }
}

/** Inputs and outputs of a weight [out, in, …], whose further dims are a receptive field. */
function fans(op: string, t: Tensor): { fanIn: number; fanOut: number } {
  if (t.ndim < 2)
    throw new ShapeError(`${op}: expected a weight of at least two dims, got ${formatShape(t.shape)}`);
  const field = numel(t.shape.slice(2));
  return { fanIn: t.shape[1] * field, fanOut: t.shape[0] * field };
}

/** Uniform in ±gain·√(6 / (fanIn + fanOut)). @source torch.nn.init.xavier_uniform_; Glorot and Bengio (2010). */
export function xavierUniform_<T extends Tensor>(t: T, { gain = 1 }: { gain?: number } = {}): T {
  const { fanIn, fanOut } = fans('xavierUniform_', t);
  const bound = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform_(t, { a: -bound, b: bound });
}

/** Normal of deviation gain·√(2 / (fanIn + fanOut)). @source torch.nn.init.xavier_normal_; Glorot and Bengio (2010). */
export function xavierNormal_<T extends Tensor>(t: T, { gain = 1 }: { gain?: number } = {}): T {
  const { fanIn, fanOut } = fans('xavierNormal_', t);
  return normal_(t, { std: gain * Math.sqrt(2 / (fanIn + fanOut)) });
}

export interface KaimingOptions {
  /** Negative slope of the leaky ReLU that follows; default 0. */
  a?: number;
  /** Keep the variance forward or backward; default 'fanIn'. */
  mode?: 'fanIn' | 'fanOut';
  /** Default 'leakyRelu'. */
  nonlinearity?: Nonlinearity;
}

function kaimingStd(op: string, t: Tensor, options: KaimingOptions): number {
  const { a = 0, mode = 'fanIn', nonlinearity = 'leakyRelu' } = options;
  return calculateGain(nonlinearity, a) / Math.sqrt(fans(op, t)[mode]);
}

/** Uniform in ±gain·√(3 / fan). @source torch.nn.init.kaiming_uniform_; He et al. (2015). */
export function kaimingUniform_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const bound = Math.sqrt(3) * kaimingStd('kaimingUniform_', t, options);
  return uniform_(t, { a: -bound, b: bound });
}

/** Normal of deviation gain / √fan. @source torch.nn.init.kaiming_normal_; He et al. (2015). */
export function kaimingNormal_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  return normal_(t, { std: kaimingStd('kaimingNormal_', t, options) });
}

export interface TruncNormalOptions {
  mean?: number;
  std?: number;
  /** Bounds, as values; default ±2. */
  a?: number;
  b?: number;
}

/**
 * Fills with normal numbers drawn again until they lie in [a, b]; drawn on the host.
 *
 * @throws RangeError when [a, b] lies beyond four deviations from the mean: nothing would ever fall in it.
 * @source torch.nn.init.trunc_normal_
 */
export function truncNormal_<T extends Tensor>(t: T, options: TruncNormalOptions = {}): T {
  const { mean = 0, std = 1, a = -2, b = 2 } = options;
  if (!(a < b) || (a - mean) / std > 4 || (b - mean) / std < -4) {
    throw new RangeError(`truncNormal_: expected bounds around the mean ${mean}, got [${a}, ${b}]`);
  }
  const next = hostNormal();
  const values = new Float64Array(t.numel);
  for (let i = 0; i < values.length; i++) {
    do values[i] = mean + std * next();
    while (values[i] < a || values[i] > b);
  }
  return assign(t, values);
}

/**
 * Fills with gain times a (semi-)orthogonal matrix [rows, all other dims]: rows orthonormal where they are fewer than
 * columns, else columns. Computed on the host by Gram and Schmidt, twice for accuracy.
 *
 * @throws ShapeError for less than two dims.
 * @source torch.nn.init.orthogonal_; Saxe et al. (2014).
 */
export function orthogonal_<T extends Tensor>(t: T, { gain = 1 }: { gain?: number } = {}): T {
  fans('orthogonal_', t);
  const rows = t.shape[0];
  const columns = numel(t.shape.slice(1));
  const [count, length] = rows < columns ? [rows, columns] : [columns, rows];
  const next = hostNormal();
  const vectors = Array.from({ length: count }, () => Float64Array.from({ length }, next));
  vectors.forEach((v, i) => {
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const along = dot(v, vectors[j]);
        for (let k = 0; k < length; k++) v[k] -= along * vectors[j][k];
      }
    }
    const norm = Math.sqrt(dot(v, v));
    for (let k = 0; k < length; k++) v[k] /= norm;
  });
  const values = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++)
      values[r * columns + c] = gain * (rows < columns ? vectors[r][c] : vectors[c][r]);
  }
  return assign(t, values);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Writes host values into a tensor in place. */
function assign<T extends Tensor>(t: T, values: Float64Array): T {
  scope(() => {
    const source = fromHost(values, t.shape, { dtype: t.dtype, device: t.device }, 'init');
    executeInPlace(copyProgram, [source], [t], null);
  });
  return t;
}

/** Normal numbers on the host from the default generator. @source Box and Muller (1958) */
function hostNormal(): () => number {
  const words = new Uint32Array(4);
  const ready: number[] = [];
  return () => {
    if (ready.length === 0) {
      const { seed, counter } = defaultGenerator.draw(4);
      philox(counter, seed, words);
      for (let i = 0; i < 4; i += 2) {
        const radius = Math.sqrt(-2 * Math.log((words[i] + 1) / 2 ** 32));
        const angle = (2 * Math.PI * words[i + 1]) / 2 ** 32;
        ready.push(radius * Math.cos(angle), radius * Math.sin(angle));
      }
    }
    return ready.pop()!;
  };
}
