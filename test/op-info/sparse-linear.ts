import { zeros } from '../../src/autograd/ops/creation.js';
import { sparseLinear } from '../../src/autograd/ops/sparse-linear.js';
import { Wiring } from '../../src/autograd/wiring.js';
import { DTypeError, ShapeError } from '../../src/device/errors.js';
import { type OpInfo, row, type Sample, values } from './types.js';

interface Wires {
  readonly inputs: number;
  readonly outputs: number;
  readonly sources: readonly number[];
  readonly targets: readonly number[];
}

/** One wiring for all runs of a sample: its tensors are made once per device. */
const wirings = new WeakMap<Wires, Wiring>();

function wiringOf(wires: Wires): Wiring {
  let wiring = wirings.get(wires);
  if (!wiring) {
    const { inputs, outputs, sources, targets } = wires;
    wirings.set(wires, (wiring = new Wiring(inputs, outputs, sources, targets)));
  }
  return wiring;
}

/** Every `keep`-th place of the matrix [outputs, inputs] in a scattered order is a wire; by target, then by source. */
function scattered(inputs: number, outputs: number, keep: number): Wires {
  const places = Array.from({ length: inputs * outputs }, (_, i) => i).filter(
    (i) => (Math.imul(i + 1, 0x9e3779b1) >>> 16) % keep === 0,
  );
  return {
    inputs,
    outputs,
    sources: places.map((i) => i % inputs),
    targets: places.map((i) => Math.floor(i / inputs)),
  };
}

function wired(name: string, lead: readonly number[], wires: Wires, more: Partial<Sample> = {}): Sample {
  return {
    name,
    inputs: [
      values([...lead, wires.inputs], 1, -1, 1),
      values([wires.sources.length], 2, -1, 1),
      values([wires.outputs], 3),
    ],
    params: { ...wires },
    ...more,
  };
}

/** Outputs 1 and 3 have no wire, input 2 has none. */
const holes: Wires = { inputs: 4, outputs: 5, sources: [0, 3, 1, 0, 1, 3], targets: [0, 0, 2, 4, 4, 4] };

const without = (name: string, wires: Wires): Sample => {
  const { inputs, ...sample } = wired(name, [3], wires);
  return { ...sample, inputs: inputs.slice(0, 2) };
};

const message = (text: string) => ({ error: ShapeError, message: `sparseLinear: ${text}` });

export const sparseLinears: readonly OpInfo[] = [
  row<Wires>({
    name: 'sparseLinear',
    covers: ['sparseLinear', 'sparseLinearBackward'],
    run: ([x, weights, bias], params) => sparseLinear(x, weights, wiringOf(params), bias),
    torch:
      'F.linear(a, torch.zeros(p["outputs"], p["inputs"], dtype=a.dtype).index_put((torch.tensor(p["targets"], dtype=torch.long), torch.tensor(p["sources"], dtype=torch.long)), b), c if len(inputs) > 2 else None)',
    // Float16 rounds the result, and backward starts from rounded inputs; sums are of up to 130 terms.
    tolerance: {
      float32: { absolute: 1e-5, relative: 2e-5 },
      float16: { absolute: 1e-2, relative: 4e-3 },
    },
    samples: [
      wired('rows without wires', [3], holes),
      without('no bias', holes),
      wired('vector', [], holes),
      wired('batch', [2, 3], scattered(5, 4, 2)),
      wired('a row more than a tile', [5], scattered(7, 3, 2)),
      wired('one wire', [2], { inputs: 3, outputs: 2, sources: [1], targets: [1] }),
      wired('no wires: the bias', [3], { inputs: 3, outputs: 2, sources: [], targets: [] }),
      wired('no inputs: the bias', [2], { inputs: 0, outputs: 2, sources: [], targets: [] }),
      wired('no outputs', [2], { inputs: 3, outputs: 0, sources: [], targets: [] }, { noGrad: true }),
      wired('no rows', [0], holes, { noGrad: true }),
      wired('all wires', [3], scattered(4, 3, 1)),
      // Several workgroups either way; without golden values, to keep their file small.
      wired('odd sizes', [13], scattered(37, 29, 5), { noGolden: true }),
      wired('many rows', [130], scattered(9, 6, 3), { noGolden: true }),
      wired('long rows', [3], scattered(140, 3, 1), { noGolden: true }),
    ],
    errors: [
      {
        name: 'x of another size',
        run: (device) => sparseLinear(zeros([2, 3], { device }), zeros([6], { device }), wiringOf(holes)),
        ...message('expected x [..., 4] as wired, got [2, 3]'),
      },
      {
        name: 'weights of another number',
        run: (device) => sparseLinear(zeros([2, 4], { device }), zeros([5], { device }), wiringOf(holes)),
        ...message('expected a weight for each of 6 wires, got [5]'),
      },
      {
        name: 'bias of another size',
        run: (device) =>
          sparseLinear(
            zeros([2, 4], { device }),
            zeros([6], { device }),
            wiringOf(holes),
            zeros([4], { device }),
          ),
        ...message('expected a bias of shape [5], got [4]'),
      },
      {
        name: 'integers',
        run: (device) =>
          sparseLinear(
            zeros([2, 4], { device, dtype: 'int32' }),
            zeros([6], { device, dtype: 'int32' }),
            wiringOf(holes),
          ),
        error: DTypeError,
        message: "sparseLinear: expected a floating-point tensor, got int32; convert with x.to('float32')",
      },
      {
        name: 'two dtypes',
        run: (device) =>
          sparseLinear(zeros([2, 4], { device }), zeros([6], { device, dtype: 'int32' }), wiringOf(holes)),
        error: DTypeError,
        message: "sparseLinear: expected one dtype, got float32 and int32; convert with x.to('float32')",
      },
    ],
  }),
];
