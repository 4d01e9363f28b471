/** Layers whose units are wired like tangled spaghetti: at random, to any unit, across layers. */
import { noGrad } from '../autograd/mode.js';
import { relu, tanh } from '../autograd/ops/activations.js';
import { add, mul, sub } from '../autograd/ops/arithmetic.js';
import { full } from '../autograd/ops/creation.js';
import { copy_ } from '../autograd/ops/in-place.js';
import { indexSelect } from '../autograd/ops/index.js';
import { cat } from '../autograd/ops/join.js';
import { sparseLinear } from '../autograd/ops/sparse-linear.js';
import { rsqrt } from '../autograd/ops/unary.js';
import { Wiring } from '../autograd/wiring.js';
import { DataError, ShapeError } from '../device/errors.js';
import { constant, fromHost } from '../tensor/factories.js';
import { scope, unscoped } from '../tensor/lifetime.js';
import { formatShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { calculateGain, normal_, zeros_ } from './init.js';
import { Module } from './module.js';
import { type FactoryOptions, Parameter } from './parameter.js';
import { anyWires, Draws, dealWires, type Feed, wiresPerUnit } from './random-wires.js';

export type SpaghettiActivation = 'relu' | 'tanh';
const ACTIVATIONS = { relu, tanh };

export interface SpaghettiOptions extends FactoryOptions {
  /** Wires that every unit gets from units of its layer. Default 8, or all units where there are fewer. */
  readonly wiresPerUnit?: number;
  /** Instead: the share of the possible wires between units that do not exist; units then differ in their wires. */
  readonly sparsity?: number;
  /** How often signals travel along the tangle. Default 4. */
  readonly steps?: number;
  /** Of the wiring; first values of the weights come from the default generator. Default 0. */
  readonly seed?: number;
  /** Default 'relu'. */
  readonly activation?: SpaghettiActivation;
  /** Units that inputs enter. Default half of them. */
  readonly entryUnits?: number;
  /** Wires from inputs to each of those. Default as many as wires per unit, or more where inputs would stay outside. */
  readonly wiresPerEntry?: number;
  /** Units that the output is read from, no entries as long as there are others. Default the other half. */
  readonly readUnits?: number;
  /** Sizes of the states of earlier layers that reach into this one. Default none. */
  readonly earlier?: readonly number[];
  /** Wires that every unit gets from each earlier state. Default 1. */
  readonly skipWires?: number;
}

/**
 * Units wired at random to any units of the same layer: s₀ = f(d), sₜ = f(T·sₜ₋₁ + d), with the drive d = E·[x, earlier
 * states] + b. The tangle T [units, units] and the entries E exist only along their wires, which are fixed by the seed: cost,
 * memory and gradients follow the wires. Inputs enter some units; the output is the last state of some others.
 *
 * The first weights of a unit are normal, then moved and scaled so that they sum to 0 and their squares to gain². With
 * ReLU (gain √2) a unit's expected square is then the variance of what it hears: 1 − 1/π of the mean square of units,
 * and all of that of inputs of mean 0. So signals settle instead of growing, however many steps there are, and inputs keep
 * them from dying. (Did the weights not sum to 0, the units would also hear the mean of all the others, feed it back to
 * each other, and some layers would explode.) With tanh (gain 5/3) states are bounded anyway.
 *
 * @source gain: He et al. (2015), Delving deep into rectifiers
 * @example
 * const layer = new SpaghettiLayer(3, 64, { wiresPerUnit: 6, steps: 3, seed: 1 });
 * layer.forward(randn([5, 3])); // [5, 32]
 */
export class SpaghettiLayer extends Module {
  readonly in_weight: Parameter;
  readonly tangle_weight: Parameter;
  readonly bias: Parameter;
  /** From inputs and earlier states to units. */
  readonly entries: Wiring;
  /** From units to units. */
  readonly tangle: Wiring;
  /** The units that the output is read from. */
  readonly readUnits: Int32Array;
  /** The units that inputs enter. */
  readonly entryUnits: Int32Array;
  readonly steps: number;
  readonly activation: SpaghettiActivation;
  private readonly reading: Tensor;
  private readonly earlier: readonly number[];

  constructor(
    readonly inFeatures: number,
    readonly units: number,
    options: SpaghettiOptions = {},
  ) {
    super();
    const { seed = 0, steps = 4, activation = 'relu', earlier = [], skipWires = 1 } = options;
    const half = Math.ceil(units / 2);
    const { entryUnits = half, readUnits = Math.max(1, units - half), sparsity } = options;
    const perUnit = options.wiresPerUnit ?? Math.min(8, units);
    check('inFeatures', inFeatures, 0, Infinity);
    check('units', units, 1, Infinity);
    check('seed', seed, -Infinity, Infinity);
    check('steps', steps, 0, Infinity);
    check('wiresPerUnit', perUnit, 0, units);
    check('entryUnits', entryUnits, 1, units);
    check('readUnits', readUnits, 1, units);
    check('skipWires', skipWires, 0, Infinity);
    for (const size of earlier) check('sizes of earlier layers', size, 0, Infinity);
    if (!Object.hasOwn(ACTIVATIONS, activation)) {
      throw new DataError(
        `SpaghettiLayer: expected an activation of ${Object.keys(ACTIVATIONS).join(', ')}, got ${activation}`,
      );
    }
    if (sparsity !== undefined && options.wiresPerUnit !== undefined) {
      throw new DataError('SpaghettiLayer: expected wiresPerUnit or sparsity, got both');
    }
    if (sparsity !== undefined && !(sparsity >= 0 && sparsity <= 1)) {
      throw new DataError(`SpaghettiLayer: expected a sparsity from 0 to 1, got ${sparsity}`);
    }
    const { wiresPerEntry = Math.max(perUnit, Math.ceil(inFeatures / entryUnits)) } = options;
    check('wiresPerEntry', wiresPerEntry, 0, Infinity);
    this.steps = steps;
    this.activation = activation;
    this.earlier = [...earlier];

    const draws = new Draws(seed);
    const order = draws.permutation(units);
    this.entryUnits = order.slice(0, entryUnits).sort();
    this.readUnits = order.slice(units - readUnits).sort();
    this.tangle =
      sparsity === undefined
        ? wiresPerUnit(units, perUnit, draws)
        : anyWires(units, Math.round((1 - sparsity) * units * units), draws);
    const feeds: Feed[] = [{ first: 0, size: inFeatures, targets: this.entryUnits, wires: wiresPerEntry }];
    let first = inFeatures;
    for (const size of earlier) {
      feeds.push({ first, size, targets: order, wires: skipWires });
      first += size;
    }
    this.entries = dealWires(first, units, feeds, draws);

    this.in_weight = Parameter.empty([this.entries.length], options);
    this.tangle_weight = Parameter.empty([this.tangle.length], options);
    this.bias = Parameter.empty([units], options);
    const { device } = this.bias;
    const integers = { dtype: 'int32', device } as const;
    const put = (values: Int32Array, shape: number[]) =>
      unscoped(() => fromHost(values, shape, integers, 'wiring'));
    // A wiring is saved under a name of its own: the state of another one is then an error, and says which.
    const save = (name: string, { fingerprint, sources, targets }: Wiring): void => {
      const both = Int32Array.from([...sources, ...targets]);
      this.registerBuffer(`${name}_${fingerprint}`, put(both, [2, sources.length]));
    };
    save('entries', this.entries);
    save('tangle', this.tangle);
    const { fingerprint } = new Wiring(units, readUnits, this.readUnits, [...this.readUnits.keys()]);
    this.reading = put(this.readUnits, [readUnits]);
    this.registerBuffer(`reading_${fingerprint}`, this.reading);
    this.resetParameters();
  }

  /** Length of the output. */
  get outFeatures(): number {
    return this.readUnits.length;
  }

  /** All wires of the layer. */
  get wires(): number {
    return this.entries.length + this.tangle.length;
  }

  /** Multiplications and additions of a forward pass, per row of x. */
  get operations(): number {
    return 2 * (this.entries.length + this.steps * this.tangle.length);
  }

  /** Draws the first values again. */
  resetParameters(): void {
    const gain = calculateGain(this.activation);
    const parts = [
      [this.in_weight, this.entries],
      [this.tangle_weight, this.tangle],
    ] as const;
    const fan = new Float64Array(this.units);
    for (const [, { targets }] of parts) for (const unit of targets) fan[unit]++;
    // The only wire of a unit keeps its weight.
    const shares = fan.map((wires) => (wires > 1 ? 1 / wires : 0));
    for (const [weight] of parts) normal_(weight);
    scope(() =>
      noGrad(() => {
        const perUnit = fromHost(shares, [this.units], this.bias, 'init');
        const means = mul(sumPerUnit(parts), perUnit);
        for (const [weight, wiring] of parts) copy_(weight, sub(weight, perWire(means, wiring)));
        const squares = parts.map(([weight, wiring]) => [mul(weight, weight), wiring] as const);
        const scale = mul(rsqrt(sumPerUnit(squares)), constant(gain, this.bias.dtype, this.bias.device));
        for (const [weight, wiring] of parts) copy_(weight, mul(weight, perWire(scale, wiring)));
      }),
    );
    zeros_(this.bias);
  }

  /**
   * The units' states after all steps.
   *
   * @param x [..., in]
   * @param earlier states of the earlier layers [..., units of that layer], in the order of the option
   * @returns [..., units]
   * @throws ShapeError where sizes are not as wired.
   */
  state(x: Tensor, earlier: readonly Tensor[] = []): Tensor {
    return this.states(x, earlier).at(-1)!;
  }

  /** The units' states at the start and after each step: steps + 1 tensors [..., units]. @throws ShapeError as `state` */
  states(x: Tensor, earlier: readonly Tensor[] = []): Tensor[] {
    const sizes = [this.inFeatures, ...this.earlier];
    const given = [x, ...earlier];
    if (given.length !== sizes.length || given.some((t, i) => t.shape.at(-1) !== sizes[i])) {
      throw new ShapeError(
        `SpaghettiLayer: expected last dims ${formatShape(sizes)} of x and earlier states, got ${formatShape(given.map((t) => t.shape.at(-1) ?? 0))}`,
      );
    }
    const f = ACTIVATIONS[this.activation];
    const sources = given.length === 1 ? x : cat(given, -1);
    const drive = sparseLinear(sources, this.intact('in_weight', this.in_weight), this.entries, this.bias);
    const weights = this.intact('tangle_weight', this.tangle_weight);
    const states = [f(drive)];
    for (let step = 0; step < this.steps; step++) {
      states.push(f(add(sparseLinear(states[step], weights, this.tangle), drive)));
    }
    return states;
  }

  /** The states of the units that are read: [..., units] → [..., out]. */
  read(state: Tensor): Tensor {
    return indexSelect(state, -1, this.reading);
  }

  /** [..., in] → [..., out]. @throws ShapeError as `state` */
  forward(x: Tensor, earlier: readonly Tensor[] = []): Tensor {
    return this.read(this.state(x, earlier));
  }

  /**
   * Cuts a share of all wires, chosen at random: they carry nothing and learn nothing. Replaces an earlier cut; a larger
   * share of the same seed cuts the same wires and more, and 0 mends all. What is cut belongs to the state.
   *
   * @param fraction from 0 to 1
   * @returns how many wires are cut
   */
  cut(fraction: number, seed = 0): number {
    if (!(fraction >= 0 && fraction <= 1)) {
      throw new DataError(`SpaghettiLayer.cut: expected a share from 0 to 1, got ${fraction}`);
    }
    const count = Math.round(fraction * this.wires);
    const whole = new Float64Array(this.wires).fill(1);
    for (const wire of new Draws(seed, 1).permutation(this.wires).subarray(0, count)) whole[wire] = 0;
    const border = this.entries.length;
    this.setIntact('in_weight', this.in_weight, whole.subarray(0, border));
    this.setIntact('tangle_weight', this.tangle_weight, whole.subarray(border));
    return count;
  }

  /** 1 for wires that are whole and 0 for those that are cut; none before the first cut. */
  private mask(name: string): Tensor | undefined {
    return (this as unknown as Record<string, Tensor | undefined>)[`${name}_intact`];
  }

  private intact(name: string, weight: Tensor): Tensor {
    const mask = this.mask(name);
    return mask ? mul(weight, mask) : weight;
  }

  private setIntact(name: string, { shape, dtype, device }: Parameter, values: Float64Array): void {
    if (!this.mask(name)) {
      const mask = unscoped(() => fromHost(values, shape, { dtype, device }, 'cut'));
      this.registerBuffer(`${name}_intact`, mask);
      return;
    }
    scope(() => noGrad(() => copy_(this.mask(name)!, fromHost(values, shape, { dtype, device }, 'cut'))));
  }
}

/** Sums of the wires' values over the wires of each unit: [units]. */
function sumPerUnit(parts: readonly (readonly [values: Tensor, wiring: Wiring])[]): Tensor {
  return parts
    .map(([values, wiring]) => sparseLinear(onesLike(values, wiring.inputs), values, wiring))
    .reduce(add);
}

function onesLike({ dtype, device }: Tensor, length: number): Tensor {
  return full([length], 1, { dtype, device });
}

/** The unit's value for each of its wires: [units] → [wires]. */
function perWire(values: Tensor, wiring: Wiring): Tensor {
  return indexSelect(values, 0, wiring.on(values.device).targets);
}

function check(what: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const lower = least === -Infinity ? '' : ` of at least ${least}`;
  const range = most === Infinity ? lower : ` from ${least} to ${most}`;
  throw new DataError(`SpaghettiLayer: expected ${what} to be an integer${range}, got ${value}`);
}
