/** Recurrent layers: RNN, LSTM and GRU, in several layers and both directions. */
import { add } from '../autograd/ops/arithmetic.js';
import { expand } from '../autograd/ops/broadcast.js';
import { dropout } from '../autograd/ops/dropout.js';
import { indexSelect } from '../autograd/ops/index.js';
import { cat, stack } from '../autograd/ops/join.js';
import { linear } from '../autograd/ops/linear.js';
import { checkProbability } from '../autograd/ops/random.js';
import {
  type CellName,
  type RecurrentInputs,
  type RecurrentOutputs,
  recurrent,
} from '../autograd/ops/recurrent.js';
import { select, squeeze, unsqueeze } from '../autograd/ops/views.js';
import { ShapeError } from '../device/errors.js';
import { constant, tensor } from '../tensor/factories.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { uniform_ } from './init.js';
import { Module } from './module.js';
import { packedScan } from './packed-scan.js';
import { isPacked, type PackedSequence } from './packing.js';
import { type FactoryOptions, Parameter } from './parameter.js';

export interface RecurrentOptions extends FactoryOptions {
  /** Default 1. */
  readonly numLayers?: number;
  /** With b_ih and b_hh; default true. */
  readonly bias?: boolean;
  /** Input and output are [B, T, ·] instead of [T, B, ·]; default false. States are [layers·directions, B, H] always. */
  readonly batchFirst?: boolean;
  /** Dropout between layers, in training; default 0. */
  readonly dropout?: number;
  /** A second set of cells reads from the end; outputs are joined to 2H. Default false. */
  readonly bidirectional?: boolean;
}

/** The parameters of one layer in one direction. */
interface Weights {
  readonly weightIh: Parameter;
  readonly weightHh: Parameter;
  readonly biasIh: Parameter | null;
  readonly biasHh: Parameter | null;
}

/**
 * What LSTM, GRU and RNN share. Parameters are PyTorch's: weight_ih_l0 [G·H, in], weight_hh_l0 [G·H, H], bias_ih_l0 and
 * bias_hh_l0 [G·H], for layers l0, l1, …, those of the backward direction with the suffix _reverse; all uniform in ±1/√H at
 * first.
 */
abstract class RecurrentBase extends Module {
  readonly numLayers: number;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;
  private readonly withBias: boolean;

  constructor(
    private readonly cell: CellName,
    gates: number,
    readonly inputSize: number,
    readonly hiddenSize: number,
    options: RecurrentOptions,
  ) {
    super();
    const { numLayers = 1, bias = true, batchFirst = false, dropout: p = 0, bidirectional = false } = options;
    checkProbability(this.constructor.name, p);
    if (!Number.isInteger(numLayers) || numLayers < 1) {
      throw new ShapeError(`${this.constructor.name}: expected at least one layer, got ${numLayers}`);
    }
    this.numLayers = numLayers;
    this.batchFirst = batchFirst;
    this.dropout = p;
    this.bidirectional = bidirectional;
    this.withBias = bias;
    const rows = gates * hiddenSize;
    for (let layer = 0; layer < numLayers; layer++) {
      const columns = layer === 0 ? inputSize : hiddenSize * this.directions;
      for (const end of this.suffixes(layer)) {
        this.registerParameter(`weight_ih_${end}`, Parameter.empty([rows, columns], options));
        this.registerParameter(`weight_hh_${end}`, Parameter.empty([rows, hiddenSize], options));
        if (!bias) continue;
        this.registerParameter(`bias_ih_${end}`, Parameter.empty([rows], options));
        this.registerParameter(`bias_hh_${end}`, Parameter.empty([rows], options));
      }
    }
    this.resetParameters();
  }

  /** Draws the first values again. */
  resetParameters(): void {
    const bound = this.hiddenSize > 0 ? 1 / Math.sqrt(this.hiddenSize) : 0;
    for (const p of this.parameters()) uniform_(p, { a: -bound, b: bound });
  }

  private get directions(): number {
    return this.bidirectional ? 2 : 1;
  }

  private suffixes(layer: number): string[] {
    return this.bidirectional ? [`l${layer}`, `l${layer}_reverse`] : [`l${layer}`];
  }

  private weights(end: string): Weights {
    const get = (name: string) => (this as unknown as Record<string, Parameter>)[`${name}_${end}`];
    return {
      weightIh: get('weight_ih'),
      weightHh: get('weight_hh'),
      biasIh: this.withBias ? get('bias_ih') : null,
      biasHh: this.withBias ? get('bias_hh') : null,
    };
  }

  /** Initial states of every layer and direction, [layers·directions, B, H]; zeros where none are given. */
  private states(given: Tensor | null | undefined, x: Tensor, B: number, what: string): Tensor[] {
    const count = this.numLayers * this.directions;
    const shape = [count, B, this.hiddenSize];
    if (!given) return new Array<Tensor>(count).fill(zeroState(shape.slice(1), x));
    if (!sameShape(given.shape, shape)) {
      throw new ShapeError(
        `${this.constructor.name}: expected ${what} of shape ${formatShape(shape)}, got ${formatShape(given.shape)}`,
      );
    }
    return Array.from({ length: count }, (_, i) => select(given, 0, i));
  }

  /** Runs all layers. Unbatched input [T, in] comes with unbatched states. */
  protected run<X extends Tensor | PackedSequence>(
    given: X,
    h0?: Tensor | null,
    c0?: Tensor | null,
  ): { output: X; h: Tensor; c: Tensor | null } {
    if (isPacked(given)) return this.runPacked(given, h0, c0) as never;
    const input: Tensor = given;
    const { name } = this.constructor;
    const last = input.shape[input.ndim - 1];
    if ((input.ndim !== 2 && input.ndim !== 3) || last !== this.inputSize) {
      throw new ShapeError(
        `${name}: expected input [${this.batchFirst ? 'B, T' : 'T, B'}, ${this.inputSize}] or [T, ${this.inputSize}], got ${formatShape(input.shape)}`,
      );
    }
    const single = input.ndim === 2;
    // One sequence is a batch of one.
    const batch = this.batchFirst ? 0 : 1;
    const x = single ? unsqueeze(input, batch) : input;
    const batched = (t?: Tensor | null) => (t && single && t.ndim === 2 ? unsqueeze(t, 1) : t);
    const { output, h, c } = this.layers(x, x.shape[batch], batched(h0), batched(c0), (inputs, reverse) =>
      recurrent(this.cell, inputs, { reverse, batchFirst: this.batchFirst }),
    );
    if (!single) return { output, h, c } as never;
    return { output: squeeze(output, batch), h: squeeze(h, 1), c: c && squeeze(c, 1) } as never;
  }

  /** States come and go in the caller's order of sequences. */
  private runPacked(input: PackedSequence, h0?: Tensor | null, c0?: Tensor | null) {
    const { data, batchSizes, sortedIndices, unsortedIndices } = input;
    if (data.ndim !== 2 || data.shape[1] !== this.inputSize) {
      throw new ShapeError(
        `${this.constructor.name}: expected packed input [steps, ${this.inputSize}], got ${formatShape(data.shape)}`,
      );
    }
    const isSorted = sortedIndices.every((b, k) => b === k);
    const ordered = (t: Tensor | null | undefined, by: readonly number[]) =>
      t && !isSorted ? indexSelect(t, 1, tensor(Int32Array.from(by), { device: t.device })) : (t ?? null);
    const B = sortedIndices.length;
    for (const [t, what] of [
      [h0, 'h0'],
      [c0, 'c0'],
    ] as const)
      if (t) this.states(t, data, B, what);
    const { output, h, c } = this.layers(
      data,
      B,
      ordered(h0, sortedIndices),
      ordered(c0, sortedIndices),
      (inputs, reverse) => packedScan(this.cell, inputs, batchSizes, reverse),
    );
    return {
      output: { ...input, data: output },
      h: ordered(h, unsortedIndices)!,
      c: ordered(c, unsortedIndices),
    };
  }

  /** All layers over […, in], by a scan of one layer in one direction. */
  private layers(
    x: Tensor,
    B: number,
    h0: Tensor | null | undefined,
    c0: Tensor | null | undefined,
    scan: Scan,
  ) {
    const hs = this.states(h0, x, B, 'h0');
    const cs = this.cell === 'lstm' ? this.states(c0, x, B, 'c0') : null;
    const lastH: Tensor[] = [];
    const lastC: Tensor[] = [];
    let output = x;
    for (let layer = 0; layer < this.numLayers; layer++) {
      const outputs = this.suffixes(layer).map((end, direction) => {
        const at = layer * this.directions + direction;
        const inputs = this.scanInputs(output, this.weights(end), hs[at], cs?.[at]);
        const scanned = scan(inputs, direction === 1);
        lastH.push(scanned.h);
        if (scanned.c) lastC.push(scanned.c);
        return scanned.output;
      });
      output = outputs.length === 1 ? outputs[0] : cat(outputs, outputs[0].ndim - 1);
      if (layer < this.numLayers - 1) output = dropout(output, this.dropout, this.training);
    }
    const all = (states: Tensor[]) => (states.length === 1 ? unsqueeze(states[0], 0) : stack(states, 0));
    return { output, h: all(lastH), c: cs ? all(lastC) : null };
  }

  /** The input's product for all steps at once, and what the steps read beside it. */
  private scanInputs(x: Tensor, w: Weights, h0: Tensor, c0: Tensor | undefined): RecurrentInputs {
    const inner = this.cell === 'gru';
    const { biasIh, biasHh } = w;
    const bias = biasIh && biasHh && !inner ? add(biasIh, biasHh) : biasIh;
    const projected = linear(x, w.weightIh, bias);
    const innerBias = inner ? (biasHh ?? zeroState([w.weightHh.shape[0]], x)) : null;
    return { projected, h0, c0, weight: w.weightHh, bias: innerBias };
  }
}

type Scan = (inputs: RecurrentInputs, reverse: boolean) => RecurrentOutputs;

/** Zeros that take no memory of their own. */
function zeroState(shape: number[], { dtype, device }: Tensor): Tensor {
  return expand(constant(0, dtype, device), shape);
}

/**
 * Long short-term memory: i, f, o = σ(·), g = tanh(·) of W_ih·x + b_ih + W_hh·h + b_hh in the order i, f, g, o;
 * c' = f·c + i·g; h' = o·tanh c'.
 *
 * @source torch.nn.LSTM; Hochreiter and Schmidhuber (1997).
 * @example
 * const lstm = new LSTM(48, 96, { batchFirst: true });
 * const [y, [h, c]] = lstm.forward(x); // x [B, T, 48], y [B, T, 96], h and c [1, B, 96]
 */
export class LSTM extends RecurrentBase {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('lstm', 4, inputSize, hiddenSize, options);
  }

  /**
   * @param x [T, B, in], or [B, T, in] where batchFirst, or one sequence [T, in], or packed sequences of different lengths
   * @param state h0 and c0, each [layers·directions, B, H]; zeros by default
   * @returns the hidden states of the last layer, [T, B, directions·H] or packed as x is, and the last states [h, c] of all
   *   layers: of packed sequences, each at its own last step
   * @throws ShapeError for shapes that do not fit.
   */
  forward<X extends Tensor | PackedSequence>(
    x: X,
    state?: readonly [Tensor, Tensor] | null,
  ): [X, [Tensor, Tensor]] {
    const { output, h, c } = this.run(x, state?.[0], state?.[1]);
    return [output, [h, c!]];
  }
}

/**
 * Gated recurrent unit: r, z = σ(W_ih·x + b_ih + W_hh·h + b_hh), n = tanh(W_ih·x + b_ih + r·(W_hh·h + b_hh)) in the order
 * r, z, n; h' = (1 − z)·n + z·h.
 *
 * @source torch.nn.GRU; Cho et al. (2014).
 */
export class GRU extends RecurrentBase {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super('gru', 3, inputSize, hiddenSize, options);
  }

  /**
   * @param x as LSTM's
   * @param h0 [layers·directions, B, H]; zeros by default
   * @returns the hidden states of the last layer and the last states of all layers
   * @throws ShapeError for shapes that do not fit.
   */
  forward<X extends Tensor | PackedSequence>(x: X, h0?: Tensor | null): [X, Tensor] {
    const { output, h } = this.run(x, h0);
    return [output, h];
  }
}

/** h' = tanh (or relu) of W_ih·x + b_ih + W_hh·h + b_hh. @source torch.nn.RNN; Elman (1990). */
export class RNN extends RecurrentBase {
  constructor(
    inputSize: number,
    hiddenSize: number,
    { nonlinearity = 'tanh', ...options }: RecurrentOptions & { nonlinearity?: 'tanh' | 'relu' } = {},
  ) {
    super(nonlinearity === 'tanh' ? 'rnnTanh' : 'rnnRelu', 1, inputSize, hiddenSize, options);
  }

  /** As GRU's. */
  forward<X extends Tensor | PackedSequence>(x: X, h0?: Tensor | null): [X, Tensor] {
    const { output, h } = this.run(x, h0);
    return [output, h];
  }
}
