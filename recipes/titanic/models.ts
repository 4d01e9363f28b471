/** The models: logistic regression, and networks with embeddings, several at once. */
import {
  bceWithLogitsLoss,
  capture,
  cat,
  type Device,
  defaultDevice,
  dropout,
  embedding,
  nn,
  noGrad,
  optim,
  scope,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';
import type { FeatureTable } from './features.js';

/** Passengers on a device. */
export interface Inputs {
  /** float32 [N, F] */
  readonly numbers: Tensor;
  /** int32 [N, C] */
  readonly categories: Tensor;
}

/** How many of what the features give. */
export interface InputSizes {
  readonly numbers: number;
  /** Rows of each category's table, the unknown one included. */
  readonly categories: readonly number[];
}

/** A model that several of which are trained side by side: M logits for each passenger. */
export interface Scorer extends nn.Module {
  /** @returns logits [M, N] */
  forward(inputs: Inputs): Tensor;
  /** Parameters that weight decay pulls to 0. */
  readonly decayed: readonly nn.Parameter[];
}

/** Logistic regression: a weight for each number, and for each category. */
export class LogisticRegression extends nn.Module implements Scorer {
  readonly weight: nn.Parameter;
  /** [Σ V, 1]: a table of one column is a weight for each category, as one-hot inputs would give. */
  readonly tables: nn.Parameter;
  readonly bias: nn.Parameter;
  declare readonly offsets: Tensor;

  constructor(sizes: InputSizes, device: Device = defaultDevice()) {
    super();
    const total = sizes.categories.reduce((a, b) => a + b, 0);
    // Convex: zeros are as good a start as any.
    this.weight = new nn.Parameter(zeros([1, sizes.numbers], { device }));
    this.tables = new nn.Parameter(zeros([total, 1], { device }));
    this.bias = new nn.Parameter(zeros([1], { device }));
    this.registerBuffer('offsets', offsetsOf(sizes, 1, device), { persistent: false });
  }

  get decayed(): nn.Parameter[] {
    return [this.weight, this.tables];
  }

  forward({ numbers, categories }: Inputs): Tensor {
    const [n, C] = categories.shape;
    const ids = categories.add(this.offsets.reshape([1, C]));
    const named = embedding(this.tables, ids).reshape([n, C]).sum({ dim: 1 });
    return numbers.matmul(this.weight.transpose(0, 1)).reshape([n]).add(named).add(this.bias).unsqueeze(0);
  }
}

/** What a network is made of. */
export interface NetworkShape {
  /** Networks side by side; each has weights of its own, and their probabilities are averaged. */
  readonly members: number;
  /** Columns of each category's table. */
  readonly dim: number;
  /** Units of each hidden layer. */
  readonly hidden: readonly number[];
  readonly dropout: number;
  /** Share of the inputs hidden in training: a small group of companions cannot be recognised by all of its traits. */
  readonly inputDropout: number;
  /** Adds a linear function of the inputs to the logit, past the hidden layers. */
  readonly wide: boolean;
}

/**
 * M small networks in one: every parameter has a leading dimension M, and a matrix product of [M, N, in] and [M, in, out] does
 * for all of them what would else be M products. They see the same passengers and differ in their first weights and in what
 * dropout hides.
 */
export class Networks extends nn.Module implements Scorer {
  /** [M · Σ V, D] */
  readonly tables: nn.Parameter;
  readonly layers: nn.ModuleList<MemberLinear>;
  readonly wide: MemberLinear | null;
  declare readonly offsets: Tensor;

  constructor(
    sizes: InputSizes,
    readonly shape: NetworkShape,
    device: Device = defaultDevice(),
  ) {
    super();
    const { members: M, dim: D, hidden } = shape;
    const total = sizes.categories.reduce((a, b) => a + b, 0);
    this.tables = nn.init.normal_(nn.Parameter.empty([M * total, D], { device }), { std: 0.3 });
    this.registerBuffer('offsets', offsetsOf(sizes, M, device), { persistent: false });
    const widths = [sizes.numbers + sizes.categories.length * D, ...hidden, 1];
    this.layers = new nn.ModuleList(
      widths.slice(1).map((width, i) => new MemberLinear(M, widths[i], width, device)),
    );
    this.wide = shape.wide ? new MemberLinear(M, widths[0], 1, device) : null;
  }

  get decayed(): nn.Parameter[] {
    const layers = this.wide === null ? [...this.layers] : [...this.layers, this.wide];
    return [this.tables, ...layers.map(({ weight }) => weight)];
  }

  forward({ numbers, categories }: Inputs): Tensor {
    const { members: M, dim: D, dropout: p, inputDropout } = this.shape;
    const [n, F] = numbers.shape;
    const C = categories.shape[1];
    // [M, N, C]: each member looks into its own part of the table.
    const ids = categories.unsqueeze(0).add(this.offsets.reshape([M, 1, C]));
    const named = embedding(this.tables, ids).reshape([M, n, C * D]);
    const inputs = cat([numbers.unsqueeze(0).expand([M, n, F]), named], 2);
    const x = dropout(inputs, inputDropout, this.training);
    const layers = [...this.layers];
    const last = layers.pop()!;
    const hidden = layers.reduce((h, layer) => dropout(layer.forward(h).relu(), p, this.training), x);
    const logits = last.forward(hidden);
    return (this.wide === null ? logits : logits.add(this.wide.forward(x))).reshape([M, n]);
  }
}

/** M linear layers: [M, N, in] → [M, N, out]. */
class MemberLinear extends nn.Module {
  readonly weight: nn.Parameter;
  readonly bias: nn.Parameter;

  constructor(members: number, width: number, out: number, device: Device) {
    super();
    const bound = 1 / Math.sqrt(width);
    this.weight = nn.init.uniform_(nn.Parameter.empty([members, width, out], { device }), {
      a: -bound,
      b: bound,
    });
    this.bias = nn.init.uniform_(nn.Parameter.empty([members, 1, out], { device }), { a: -bound, b: bound });
  }

  forward(x: Tensor): Tensor {
    return x.matmul(this.weight).add(this.bias);
  }
}

/** Where each member's rows of each category begin in the common table: int32 [M · C]. */
function offsetsOf({ categories }: InputSizes, members: number, device: Device): Tensor {
  const total = categories.reduce((a, b) => a + b, 0);
  const starts = categories.map((_, i) => categories.slice(0, i).reduce((a, b) => a + b, 0));
  const offsets = Array.from({ length: members }, (_, m) => starts.map((start) => m * total + start)).flat();
  return tensor(Int32Array.from(offsets), { device });
}

/** How a model is trained. */
export interface Training {
  readonly steps: number;
  /** Learning rate at the start; it falls to 0 as a cosine. */
  readonly lr: number;
  /** λ of Σ lossᵢ + λ/2 · |w|² for logistic regression (1 / C of scikit-learn); biases are free. */
  readonly l2: number;
}

export function toInputs(table: FeatureTable, device: Device): Inputs {
  const { rows, numbers, categories } = table;
  return {
    numbers: tensor(numbers, { shape: [rows, numbers.length / rows], device }),
    categories: tensor(categories, { shape: [rows, categories.length / rows], device }),
  };
}

/**
 * Trains on all rows at once, step for step: with a thousand rows there is no need for batches.
 * @param labels 0 or 1 [N]
 */
export async function train(
  model: Scorer,
  table: FeatureTable,
  labels: ArrayLike<number>,
  { steps, lr, l2 }: Training,
  device: Device = defaultDevice(),
): Promise<void> {
  const inputs = toInputs(table, device);
  const free = model.parameters().filter((p) => !model.decayed.includes(p));
  const optimizer = new optim.Adam(
    [
      { params: [...model.decayed], weightDecay: l2 / table.rows },
      { params: free, weightDecay: 0 },
    ],
    { lr },
  );
  const scheduler = new optim.CosineAnnealingLR(optimizer, { tMax: steps });
  const y = tensor(Float32Array.from(labels), { device });
  model.train();
  const step = capture(
    ({ numbers, categories }: Inputs, truth: Tensor) => {
      const logits = model.forward({ numbers, categories });
      // The mean over passengers, summed over members: each is trained as if it were alone.
      const loss = bceWithLogitsLoss(logits, truth.unsqueeze(0).expand(logits.shape)).mul(logits.shape[0]);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      return loss;
    },
    { device },
  );
  for (let i = 0; i < steps; i++) {
    const loss = step({ ...inputs }, y);
    scheduler.step();
    // Bounds what waits in the queue.
    if (i % 50 === 49 || i === steps - 1) await loss.item();
  }
  step.release();
  for (const t of [inputs.numbers, inputs.categories, y]) t.release();
}

/** @returns probabilities [N], averaged over members */
export async function predict(
  model: Scorer,
  table: FeatureTable,
  device: Device = defaultDevice(),
): Promise<Float64Array> {
  model.eval();
  const mean = scope(() => noGrad(() => model.forward(toInputs(table, device)).sigmoid().mean({ dim: 0 })));
  const values = Float64Array.from(await mean.data());
  mean.release();
  return values;
}
