/** What is compared: spaghetti, and dense networks of as many parameters and of the same width. */
import { type Device, nn, noGrad, scope, type Tensor, tensor } from '../../src/index.js';
import { Draws } from '../../src/nn/random-wires.js';

export const KINDS = [
  'spaghetti',
  'two spaghetti layers',
  'dense of equal parameters',
  'dense of equal width',
] as const;
export type Kind = (typeof KINDS)[number];

export interface Shape {
  readonly units: number;
  readonly wiresPerUnit: number;
  /** How often signals travel along the tangle. */
  readonly propagation: number;
}

export interface Net {
  readonly kind: Kind;
  readonly model: nn.Module & { forward(x: Tensor): Tensor };
  readonly parameters: number;
  /** Weights, biases not counted. */
  readonly wires: number;
  /** Multiplications and additions of a forward pass per example. */
  readonly operations: number;
  /** Sets a random share of all weights to 0; the returned function puts them back. */
  cut(share: number, seed: number): Promise<() => void>;
}

/** @param seed of the wiring; first weights come from the default generator */
export function build(
  kind: Kind,
  [inputs, outputs]: readonly [number, number],
  shape: Shape,
  seed: number,
  device: Device,
): Net {
  if (kind === 'spaghetti') return spaghetti(kind, inputs, outputs, shape, 1, seed, device);
  if (kind === 'two spaghetti layers') {
    const units = Math.ceil(shape.units / 2);
    const half = { ...shape, units, wiresPerUnit: Math.min(shape.wiresPerUnit, units) };
    return spaghetti(kind, inputs, outputs, half, 2, seed, device);
  }
  if (kind === 'dense of equal width') return dense(kind, inputs, outputs, shape.units, device);
  const wanted = spaghettiParameters(inputs, outputs, shape, device);
  return dense(kind, inputs, outputs, widthFor(wanted, inputs, outputs), device);
}

function spaghetti(
  kind: Kind,
  inputs: number,
  outputs: number,
  { units, wiresPerUnit, propagation }: Shape,
  layers: number,
  seed: number,
  device: Device,
): Net {
  const model = new nn.SpaghettiNet(inputs, units, outputs, {
    layers,
    wiresPerUnit,
    steps: propagation,
    seed,
    device,
  });
  return {
    kind,
    model,
    parameters: model.numParameters(),
    wires: model.wires,
    operations: model.operations,
    async cut(share, cutSeed) {
      let stream = 0;
      for (const layer of model.layers) layer.cut(share, cutSeed + 1000 * stream++);
      const mend = await cutWeight(model.head.weight, share, cutSeed);
      return () => {
        for (const layer of model.layers) layer.cut(0);
        mend();
      };
    },
  };
}

function spaghettiParameters(inputs: number, outputs: number, shape: Shape, device: Device): number {
  return scope(() => {
    const { units, wiresPerUnit } = shape;
    return new nn.SpaghettiNet(inputs, units, outputs, { wiresPerUnit, device }).numParameters();
  });
}

/** Two hidden layers with ReLU, first values as He et al. (2015) have them. */
function dense(kind: Kind, inputs: number, outputs: number, width: number, device: Device): Net {
  const layers = [
    new nn.Linear(inputs, width, { device }),
    new nn.Linear(width, width, { device }),
    new nn.Linear(width, outputs, { device }),
  ];
  for (const layer of layers.slice(0, 2)) {
    nn.init.kaimingNormal_(layer.weight, { nonlinearity: 'relu' });
    nn.init.zeros_(layer.bias!);
  }
  const model = new nn.Sequential(layers[0], new nn.ReLU(), layers[1], new nn.ReLU(), layers[2]);
  const wires = layers.reduce((n, layer) => n + layer.weight.numel, 0);
  return {
    kind,
    model,
    parameters: model.numParameters(),
    wires,
    operations: 2 * wires,
    async cut(share, seed) {
      const mends: (() => void)[] = [];
      for (const [i, layer] of layers.entries())
        mends.push(await cutWeight(layer.weight, share, seed + 1000 * i));
      return () => {
        for (const mend of mends) mend();
      };
    },
  };
}

/** Parameters of a dense network of two hidden layers. */
export function denseParameters(inputs: number, outputs: number, width: number): number {
  return width * (inputs + 1) + width * (width + 1) + outputs * (width + 1);
}

/** The width whose number of parameters is nearest. */
export function widthFor(parameters: number, inputs: number, outputs: number): number {
  let width = 1;
  const off = (w: number) => Math.abs(denseParameters(inputs, outputs, w) - parameters);
  while (off(width + 1) < off(width)) width++;
  return width;
}

/** Sets a share of a weight to 0. */
async function cutWeight(weight: nn.Parameter, share: number, seed: number): Promise<() => void> {
  const whole = await weight.data();
  const cut = Float32Array.from(whole);
  for (const i of new Draws(seed, 2).permutation(cut.length).subarray(0, Math.round(share * cut.length)))
    cut[i] = 0;
  const put = (values: ArrayLike<number>) => write(weight, values);
  put(cut);
  return () => put(whole);
}

/** Overwrites a parameter with host values. */
export function write(weight: Tensor, values: ArrayLike<number>): void {
  const { shape, device } = weight;
  scope(() => noGrad(() => weight.copy_(tensor(Float32Array.from(values), { shape, device }))));
}
