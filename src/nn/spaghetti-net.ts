/** A network of spaghetti layers. */
import { DataError } from '../device/errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { ModuleList } from './containers.js';
import { Linear } from './layers.js';
import { Module } from './module.js';
import { SpaghettiLayer, type SpaghettiOptions } from './spaghetti.js';

export interface SpaghettiNetOptions extends Omit<SpaghettiOptions, 'earlier'> {
  /** How many layers of the same kind. Default 1. */
  readonly layers?: number;
  /** Whether the whole states of all earlier layers reach into the later ones. Default true. */
  readonly skips?: boolean;
}

/** Seeds of the layers of a net lie so far apart. */
const SEED_STEP = 2 ** 20;

/**
 * Spaghetti layers in a row, each reading the output of the one before and, by skip tangles, the states of all before it;
 * then a linear layer.
 *
 * @example
 * new SpaghettiNet(2, 64, 3, { layers: 2, wiresPerUnit: 6 }).forward(randn([5, 2])); // [5, 3]
 */
export class SpaghettiNet extends Module {
  readonly layers: ModuleList<SpaghettiLayer>;
  readonly head: Linear;
  private readonly skips: boolean;

  constructor(
    readonly inFeatures: number,
    readonly units: number,
    readonly outFeatures: number,
    { layers = 1, skips = true, seed = 0, ...options }: SpaghettiNetOptions = {},
  ) {
    super();
    if (!Number.isInteger(layers) || layers < 1) {
      throw new DataError(`SpaghettiNet: expected layers to be an integer of at least 1, got ${layers}`);
    }
    this.skips = skips;
    this.layers = new ModuleList();
    let width = inFeatures;
    for (let i = 0; i < layers; i++) {
      const earlier = skips ? Array.from({ length: i }, () => units) : [];
      const layer = new SpaghettiLayer(width, units, { ...options, earlier, seed: seed + i * SEED_STEP });
      this.layers.append(layer);
      width = layer.outFeatures;
    }
    this.head = new Linear(width, outFeatures, options);
  }

  /** Wires of all layers and of the head. */
  get wires(): number {
    return [...this.layers].reduce((n, layer) => n + layer.wires, this.head.weight.numel);
  }

  /** Multiplications and additions of a forward pass, per row of x. */
  get operations(): number {
    return [...this.layers].reduce((n, layer) => n + layer.operations, 2 * this.head.weight.numel);
  }

  /** [..., in] → [..., out] */
  forward(x: Tensor): Tensor {
    const states: Tensor[] = [];
    let y = x;
    for (const layer of this.layers) {
      const state = layer.state(y, this.skips ? states : []);
      states.push(state);
      y = layer.read(state);
    }
    return this.head.forward(y);
  }
}
