import {
  elu,
  gelu,
  leakyRelu,
  relu,
  sigmoid,
  silu,
  softplus,
  tanh,
} from '../../src/autograd/ops/activations.js';
import { floatsOnly, list, SPECIAL, unarySamples } from './samples.js';
import { integers, type OpInfo, row, type Sample, values } from './types.js';

/** Away from the kink at 0. Exact in float16. */
const OFF = 1 / 128;

const LARGE = list(NaN, Infinity, -Infinity, 0, -0, 1, -1, 20, -20, 200, -200, 30000, -30000);

/** Derivatives at large arguments: still finite, and 0 or 1. */
const far: Sample = { name: 'far out', inputs: [list(-9, 9, -30, 30, -200, 200, 10000, -10000)] };

export const activations: readonly OpInfo[] = [
  row({
    name: 'relu',
    covers: ['relu', 'reluBackward'],
    run: ([a]) => relu(a),
    torch: 'F.relu(a)',
    samples: [
      ...unarySamples(-2, 2, SPECIAL, OFF),
      { name: 'whole numbers', inputs: [{ ...integers([3, 5], 7, -9, 9), dtype: 'float' }], noGrad: true },
    ],
    dtypes: ['int32', 'uint32'],
  }),
  row({
    name: 'leakyRelu',
    covers: ['leakyRelu', 'leakyReluBackward'],
    run: ([a], p: { slope?: number }) => leakyRelu(a, p.slope),
    torch: "F.leaky_relu(a, p.get('slope', 0.01))",
    samples: [
      ...unarySamples(-2, 2, SPECIAL, OFF),
      { name: 'slope', inputs: [values([7], 6, -2, -0.25)], params: { slope: 0.25 } },
    ],
    errors: [floatsOnly('leakyRelu', leakyRelu)],
  }),
  row({
    name: 'elu',
    covers: ['elu', 'eluBackward', 'where', 'le'],
    run: ([a], p: { alpha?: number }) => elu(a, p.alpha),
    torch: "F.elu(a, p.get('alpha', 1.0))",
    samples: [
      ...unarySamples(-2, 2, LARGE, OFF),
      { name: 'alpha', inputs: [values([7], 6, -2, -0.25)], params: { alpha: 0.5 } },
    ],
    errors: [floatsOnly('elu', elu)],
  }),
  row({
    name: 'sigmoid',
    covers: ['sigmoid', 'sigmoidBackward'],
    run: ([a]) => sigmoid(a),
    torch: 'torch.sigmoid(a)',
    samples: [...unarySamples(-4, 4, LARGE), far],
    errors: [floatsOnly('sigmoid', sigmoid)],
  }),
  row({
    name: 'tanh',
    covers: ['tanh', 'tanhBackward'],
    run: ([a]) => tanh(a),
    torch: 'torch.tanh(a)',
    samples: [...unarySamples(-3, 3, LARGE), far],
    errors: [floatsOnly('tanh', tanh)],
  }),
  row({
    name: 'silu',
    covers: ['silu', 'siluBackward'],
    run: ([a]) => silu(a),
    torch: 'F.silu(a)',
    samples: [...unarySamples(-4, 4, LARGE), far],
    errors: [floatsOnly('silu', silu)],
  }),
  row({
    name: 'gelu',
    covers: ['gelu', 'geluBackward'],
    run: ([a]) => gelu(a),
    torch: 'F.gelu(a)',
    samples: [...unarySamples(-4, 4, LARGE), far],
    errors: [floatsOnly('gelu', gelu)],
  }),
  row({
    name: 'gelu, tanh',
    covers: ['geluTanh', 'geluTanhBackward'],
    run: ([a]) => gelu(a, { approximate: 'tanh' }),
    torch: "F.gelu(a, approximate='tanh')",
    samples: [...unarySamples(-4, 4, LARGE), far],
    errors: [floatsOnly('gelu, tanh', (x) => gelu(x, { approximate: 'tanh' }), 'geluTanh')],
  }),
  row({
    name: 'softplus',
    covers: ['softplus', 'softplusBackward'],
    run: ([a], p: { beta?: number; threshold?: number }) => softplus(a, p.beta, p.threshold),
    torch: "F.softplus(a, p.get('beta', 1), p.get('threshold', 20))",
    samples: [
      ...unarySamples(-4, 4, LARGE),
      far,
      { name: 'beta', inputs: [values([7], 6, -3, 3)], params: { beta: 2.5 } },
      // On both sides of the threshold, where the function jumps.
      { name: 'threshold', inputs: [list(-2, 0.5, 1.5, 3)], params: { beta: 2, threshold: 2 } },
    ],
    errors: [floatsOnly('softplus', softplus)],
  }),
];
