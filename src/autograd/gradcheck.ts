/** Gradients against finite differences, in float64. */
import { isFloat } from '../device/dtype.js';
import { DTypeError, GradError } from '../device/errors.js';
import { tensor } from '../tensor/factories.js';
import { formatShape, numel } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { grad } from './engine.js';
import { enableGrad, noGrad } from './mode.js';

export interface GradcheckOptions {
  /** Half the step of the central difference. Default 1e-5. */
  eps?: number;
  /** Allowed |analytic − numeric| beyond `rtol`·|numeric|. Default 1e-6. */
  atol?: number;
  /** Default 1e-5. */
  rtol?: number;
  /** Seed of the random projections. Default 0. */
  seed?: number;
  /** Inputs of more elements are checked along this many random directions instead of element by element. Default 256. */
  maxElements?: number;
}

/** A function under check: float64 tensors of the CPU device in, one or several tensors out. */
export type Differentiable = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** Uniform numbers in ±[0.5, 1.5): no projection weight hides an error. */
function weights(count: number, seed: number): Float64Array {
  let state = (seed * 0x9e3779b9 + 0x7f4a7c15) >>> 0 || 1;
  return Float64Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    const u = (state >>> 1) / 2 ** 31;
    return (state & 1 ? 1 : -1) * (0.5 + u);
  });
}

function outputsOf(result: Tensor | readonly Tensor[]): Tensor[] {
  return (result instanceof Tensor ? [result] : [...result]).filter((t) => isFloat(t.dtype));
}

/**
 * Checks the gradients of `fn` by central differences: for a random projection v of the outputs, every ∂(v·f)/∂xᵢ from
 * backward must equal (v·f(x + εeᵢ) − v·f(x − εeᵢ)) / 2ε.
 *
 * @param fn deterministic; random operations must be seeded inside.
 * @param inputs float64 tensors of the CPU device; those that require a gradient are checked.
 * @returns true; a failed check throws.
 * @throws GradError naming the input and element that differ. DTypeError for other dtypes.
 * @source torch.autograd.gradcheck
 * @example
 * await gradcheck((x) => x.tanh(), [tensor([0.5, -1], { dtype: 'float64', requiresGrad: true })]);
 */
export async function gradcheck(
  fn: Differentiable,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<true> {
  const { eps = 1e-5, atol = 1e-6, rtol = 1e-5, seed = 0, maxElements = 256 } = options;
  const checked = inputs.map((_, i) => i).filter((i) => inputs[i].requiresGrad);
  if (checked.length === 0)
    throw new GradError('gradcheck: expected an input that requires a gradient, got none');
  for (const i of checked) {
    if (inputs[i].dtype !== 'float64') {
      throw new DTypeError(
        `gradcheck: expected float64 inputs, got ${inputs[i].dtype} for input ${i}; differences need the precision`,
      );
    }
  }

  const outputs = outputsOf(fn(...inputs));
  const directions = outputs.map((y, k) => weights(y.numel, seed + k));
  const connected = outputs.map((y, k) => [y, k] as const).filter(([y]) => y.requiresGrad);
  if (connected.length === 0)
    throw new GradError(
      'gradcheck: expected outputs that depend on the inputs, got none that require a gradient',
    );
  const gradOutputs = connected.map(([y, k]) =>
    tensor(directions[k], { shape: y.shape, dtype: 'float64', device: y.device }),
  );
  const analytic = grad(
    connected.map(([y]) => y),
    checked.map((i) => inputs[i]),
    { gradOutputs, allowUnused: true },
  );

  /** v·f at the inputs with input `i` replaced. */
  const project = async (i: number, values: Float64Array): Promise<number> => {
    const moved = [...inputs];
    moved[i] = tensor(values, { shape: inputs[i].shape, dtype: 'float64', device: inputs[i].device });
    const results = outputsOf(noGrad(() => fn(...moved)));
    let total = 0;
    for (let k = 0; k < results.length; k++) {
      const data = await results[k].data();
      for (let j = 0; j < data.length; j++) total += directions[k][j] * data[j];
      results[k].release();
    }
    moved[i].release();
    return total;
  };

  for (let c = 0; c < checked.length; c++) {
    const i = checked[c];
    const base = Float64Array.from(await inputs[i].detach().data());
    const g = analytic[c] ? Float64Array.from(await analytic[c]!.data()) : new Float64Array(base.length);
    if (g.length !== base.length) {
      throw new GradError(
        `gradcheck: expected a gradient of shape ${formatShape(inputs[i].shape)} for input ${i}, got ${formatShape(analytic[c]!.shape)}`,
      );
    }
    const byElement = base.length <= maxElements;
    const count = byElement ? base.length : 32;
    for (let e = 0; e < count; e++) {
      const direction = byElement ? null : weights(base.length, seed + 1000 + e);
      const at = (sign: number): Float64Array => {
        const x = base.slice();
        if (direction) for (let j = 0; j < x.length; j++) x[j] += sign * eps * direction[j];
        else x[e] += sign * eps;
        return x;
      };
      const numeric = ((await project(i, at(1))) - (await project(i, at(-1)))) / (2 * eps);
      const exact = direction ? g.reduce((s, v, j) => s + v * direction[j], 0) : g[e];
      if (!(Math.abs(exact - numeric) <= atol + rtol * Math.abs(numeric))) {
        const where = direction ? `along random direction ${e}` : `element ${e} of ${numel(inputs[i].shape)}`;
        throw new GradError(
          `gradcheck: input ${i}, ${where}: expected ${numeric} by finite differences, got ${exact} from backward`,
        );
      }
    }
  }
  return true;
}

/**
 * Checks gradients of gradients: `gradcheck` on the map from inputs and output gradients to input gradients.
 *
 * @source torch.autograd.gradgradcheck
 */
export async function gradgradcheck(
  fn: Differentiable,
  inputs: readonly Tensor[],
  options: GradcheckOptions = {},
): Promise<true> {
  const wanted = inputs.map((_, i) => i).filter((i) => inputs[i].requiresGrad);
  const probe = outputsOf(noGrad(() => fn(...inputs)));
  const seeds = probe.map((y, k) =>
    tensor(weights(y.numel, (options.seed ?? 0) + 77 + k), {
      shape: y.shape,
      dtype: 'float64',
      device: y.device,
      requiresGrad: true,
    }),
  );
  const gradients: Differentiable = (...args) => {
    const xs = args.slice(0, inputs.length);
    const gs = args.slice(inputs.length);
    // Inside a difference the moved input is a plain tensor: give it its requiresGrad back.
    const leaves = xs.map((x, i) => (wanted.includes(i) && !x.requiresGrad ? x.detach().requiresGrad_() : x));
    const all = outputsOf(enableGrad(() => fn(...leaves)));
    const connected = all.map((_, k) => k).filter((k) => all[k].requiresGrad);
    const results = grad(
      connected.map((k) => all[k]),
      wanted.map((i) => leaves[i]),
      { gradOutputs: connected.map((k) => gs[k]), createGraph: true, allowUnused: true },
    );
    return results.map((g, k) => g ?? zerosLike(leaves[wanted[k]]));
  };
  return gradcheck(gradients, [...inputs, ...seeds], options);
}

function zerosLike(t: Tensor): Tensor {
  return tensor(new Float64Array(t.numel), { shape: t.shape, dtype: 'float64', device: t.device });
}
