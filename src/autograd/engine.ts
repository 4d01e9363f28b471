/** Walks the recorded graph backwards. */
import { isFloat } from '../device/dtype.js';
import { GradError, ShapeError } from '../device/errors.js';
import { inPhase } from '../device/tracing.js';
import { capturing } from '../tensor/capturing.js';
import { constant } from '../tensor/factories.js';
import { isMine, keep, scope } from '../tensor/lifetime.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { contiguousCopy } from './contiguous.js';
import { mode } from './mode.js';
import { Node } from './node.js';
import { add } from './ops/arithmetic.js';
import { reshape } from './ops/broadcast.js';

export interface BackwardOptions {
  /** The gradient of the tensor itself; 1 by default, for scalars only. */
  gradient?: Tensor;
  /** Keep what the graph saved, for another backward. Default: as createGraph. */
  retainGraph?: boolean;
  /** Record the gradients' own operations, for gradients of gradients. Default false. */
  createGraph?: boolean;
}

/** Where gradients end up: leaves accumulate into `.grad`, or `grad` collects them. */
interface Sink {
  leaf(t: Tensor, gradient: Tensor): void;
  /** A finished gradient of a node's output. */
  output(node: Node, index: number, gradient: Tensor): void;
  /** Nodes that lead to a wanted gradient; null means all. */
  relevant: ((parent: Node | Tensor) => boolean) | null;
}

/** Every node reachable from the roots, newest first. */
function collect(roots: readonly Node[]): Node[] {
  const seen = new Set<Node>(roots);
  for (const node of seen) {
    for (const parent of node.parents) if (parent instanceof Node) seen.add(parent);
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/** Adds a gradient to a slot. Slots own their handles. */
function accumulate(slots: (Tensor | null)[], index: number, gradient: Tensor): void {
  const before = slots[index];
  if (!before) slots[index] = gradient;
  else {
    slots[index] = add(before, gradient);
    before.release();
    gradient.release();
  }
}

function run(roots: readonly Tensor[], gradients: readonly Tensor[], sink: Sink, retain: boolean): void {
  const pending = new Map<Node, (Tensor | null)[]>();
  const deliver = (parent: Node | Tensor, index: number, gradient: Tensor): void => {
    if (parent instanceof Node) {
      let slots = pending.get(parent);
      if (!slots) pending.set(parent, (slots = new Array(parent.outputShapes.length).fill(null)));
      accumulate(slots, index, gradient);
    } else sink.leaf(parent, gradient);
  };
  roots.forEach((t, i) => deliver((t.gradFn as Node | null) ?? t, t.outputIndex, gradients[i]));

  for (const node of collect(roots.flatMap((t) => (t.gradFn ? [t.gradFn as Node] : [])))) {
    const slots = pending.get(node);
    pending.delete(node);
    if (!slots || (sink.relevant && !sink.relevant(node))) {
      slots?.forEach((g) => g?.release());
      continue;
    }
    for (let i = 0; i < slots.length; i++) {
      for (const hook of node.hooks?.get(i) ?? []) {
        const replaced = slots[i] && hook(slots[i]!);
        if (replaced) slots[i] = replaced;
      }
      if (slots[i]) {
        node.retained?.get(i)?.(slots[i]!);
        sink.output(node, i, slots[i]!);
      }
    }
    const wanted = node.parents.some(
      (p) => p !== null && (!sink.relevant || !(p instanceof Node) || sink.relevant(p)),
    );
    if (wanted) {
      const results = scope(() => ownHandles(node.backward(node, slots), slots));
      for (let i = 0; i < results.length; i++) {
        const gradient = results[i];
        const parent = node.parents[i];
        if (!gradient) continue;
        if (parent === null || (sink.relevant && !sink.relevant(parent))) gradient.release();
        else deliver(parent, node.parentIndex[i], gradient);
      }
    }
    slots.forEach((g) => g?.release());
    if (!retain) node.releaseSaved();
  }
}

/** A formula may return its own input, or one tensor twice; every slot gets a handle of its own. */
function ownHandles(
  results: readonly (Tensor | null | undefined)[],
  slots: readonly (Tensor | null)[],
): (Tensor | null)[] {
  const seen = new Set<Tensor | null>(slots);
  return results.map((t) => {
    if (!t) return null;
    // A tensor from outside this formula's scope (a leaf, a constant) is not ours to release either.
    const own = seen.has(t) || !isMine(t) ? another(t) : t;
    seen.add(t);
    return own;
  });
}

/** A second handle on a gradient. A leaf gets a recorded view, so that second derivatives find it. */
function another(t: Tensor): Tensor {
  return t.isLeaf && t.requiresGrad && mode.gradEnabled ? reshape(t, t.shape) : t.alias();
}

function initialGradient(t: Tensor, gradient: Tensor | null | undefined): Tensor {
  if (!t.requiresGrad) {
    throw new GradError(
      `backward: expected a tensor that requires a gradient, got the output of '${t.op}', which was made inside noGrad or from tensors without requiresGrad`,
    );
  }
  if (gradient) {
    if (!sameShape(gradient.shape, t.shape)) {
      throw new ShapeError(
        `backward: expected a gradient of shape ${formatShape(t.shape)}, got ${formatShape(gradient.shape)}`,
      );
    }
    return another(gradient);
  }
  if (t.numel !== 1) {
    throw new GradError(
      `backward: expected a scalar or a given gradient, got shape ${formatShape(t.shape)}; reduce it with sum() or mean()`,
    );
  }
  const one = constant(1, t.dtype, t.device);
  return new Tensor(one.storage.retain(), t.dtype, t.shape, new Array(t.ndim).fill(0), 0, 'ones');
}

function withMode<R>(createGraph: boolean, fn: () => R): R {
  const { gradEnabled, inBackward } = mode;
  mode.gradEnabled = createGraph;
  mode.inBackward = true;
  try {
    return inPhase('backward', () => scope(fn));
  } finally {
    mode.gradEnabled = gradEnabled;
    mode.inBackward = inBackward;
  }
}

/** Hooks on leaves. */
export const leafHooks = new WeakMap<Tensor, ((grad: Tensor) => Tensor | undefined | void)[]>();

function applyLeafHooks(t: Tensor, gradient: Tensor): Tensor {
  for (const hook of leafHooks.get(t) ?? []) gradient = hook(gradient) ?? gradient;
  return gradient;
}

/** The sum of the gradients that reach each leaf, hooks applied once to the whole. */
class LeafSums {
  private readonly sums = new Map<Tensor, (Tensor | null)[]>();

  add(t: Tensor, gradient: Tensor): void {
    let slot = this.sums.get(t);
    if (!slot) this.sums.set(t, (slot = [null]));
    accumulate(slot, 0, gradient);
  }

  forEach(fn: (t: Tensor, gradient: Tensor) => void): void {
    for (const [t, [gradient]] of this.sums) fn(t, applyLeafHooks(t, gradient!));
  }
}

/**
 * Computes d(t)/d(leaf) for every leaf that requires it and adds it to the leaf's `grad`.
 *
 * @throws GradError when `t` requires no gradient, is no scalar and no gradient is given, or its graph was freed.
 * @source torch.Tensor.backward
 */
export function backward(t: Tensor, options: BackwardOptions = {}): void {
  const createGraph = options.createGraph ?? false;
  withMode(createGraph, () => {
    const sums = new LeafSums();
    const sink: Sink = { leaf: (leaf, g) => sums.add(leaf, g), output: () => {}, relevant: null };
    run([t], [initialGradient(t, options.gradient)], sink, options.retainGraph ?? createGraph);
    sums.forEach((leaf, g) => accumulateLeaf(leaf, g, createGraph));
  });
}

/** `leaf.grad += g`. The leaf owns its gradient alone, so that clipping in place touches nothing else. */
function accumulateLeaf(leaf: Tensor, g: Tensor, createGraph: boolean): void {
  const before = leaf.grad;
  capturing.current?.gradAdded(leaf, before === null);
  if (before) {
    leaf.grad = keep(add(before, g));
    before.release();
  } else {
    const exclusive = createGraph || (g.storage.isExclusive && g.isContiguous);
    leaf.grad = keep(exclusive ? g : contiguousCopy(g));
  }
}

export interface GradOptions extends Omit<BackwardOptions, 'gradient'> {
  gradOutputs?: readonly (Tensor | null)[];
  /** Give null instead of an error for inputs that the outputs do not depend on. */
  allowUnused?: boolean;
}

/**
 * The gradients of the sum of `outputs` with respect to `inputs`, which may be leaves or intermediate; nothing is
 * accumulated into `.grad`.
 *
 * @throws GradError for an input that the outputs do not depend on, unless `allowUnused`.
 * @source torch.autograd.grad
 */
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options?: GradOptions & { allowUnused?: false },
): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradOptions,
): (Tensor | null)[];
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradOptions = {},
): (Tensor | null)[] {
  const roots = outputs instanceof Tensor ? [outputs] : outputs;
  const createGraph = options.createGraph ?? false;
  return withMode(createGraph, () => {
    const results: (Tensor | null)[] = inputs.map(() => null);
    const sums = new LeafSums();
    const sink: Sink = {
      leaf: (leaf, g) => sums.add(leaf, g),
      output: (node, index, g) => {
        inputs.forEach((t, i) => {
          if (t.gradFn === node && t.outputIndex === index) results[i] = another(g);
        });
      },
      relevant: relevance(roots, inputs),
    };
    run(
      roots,
      roots.map((t, i) => initialGradient(t, options.gradOutputs?.[i])),
      sink,
      options.retainGraph ?? createGraph,
    );
    sums.forEach((leaf, g) => {
      inputs.forEach((t, i) => {
        if (t === leaf) results[i] = another(g);
      });
    });
    results.forEach((g, i) => {
      if (!g && !options.allowUnused) {
        throw new GradError(
          `grad: expected outputs that depend on every input, got none for input ${i} (made by '${inputs[i].op}'); pass { allowUnused: true } for null`,
        );
      }
    });
    return results;
  });
}

/** Which nodes and leaves lead to one of `inputs`. */
function relevance(roots: readonly Tensor[], inputs: readonly Tensor[]): (parent: Node | Tensor) => boolean {
  const wanted = new Set<Node | Tensor>(inputs.map((t) => (t.gradFn as Node | null) ?? t));
  const nodes = collect(roots.flatMap((t) => (t.gradFn ? [t.gradFn as Node] : [])));
  for (const node of nodes.reverse()) {
    if (node.parents.some((p) => p !== null && wanted.has(p))) wanted.add(node);
  }
  return (parent) => wanted.has(parent);
}

/** Registers a hook that sees, and may replace, the gradient of `t`. Returns a function that removes it. */
export function registerHook(t: Tensor, hook: (grad: Tensor) => Tensor | undefined | void): () => void {
  if (!t.requiresGrad)
    throw new GradError(
      `registerHook: expected a tensor that requires a gradient, got the output of '${t.op}'`,
    );
  const node = t.gradFn as Node | null;
  let list: ((grad: Tensor) => Tensor | undefined | void)[];
  if (node) {
    node.hooks ??= new Map();
    if (!node.hooks.has(t.outputIndex)) node.hooks.set(t.outputIndex, []);
    list = node.hooks.get(t.outputIndex)!;
  } else {
    if (!leafHooks.has(t)) leafHooks.set(t, []);
    list = leafHooks.get(t)!;
  }
  list.push(hook);
  return () => {
    const at = list.indexOf(hook);
    if (at >= 0) list.splice(at, 1);
  };
}

/** Makes backward leave the gradient of a non-leaf in its `grad`, as it does for leaves. @source torch.Tensor.retain_grad */
export function retainGrad(t: Tensor): void {
  if (!t.requiresGrad || !isFloat(t.dtype)) {
    throw new GradError(
      `retainGrad: expected a tensor that requires a gradient, got the output of '${t.op}'`,
    );
  }
  const node = t.gradFn as Node | null;
  if (!node) return;
  // Weakly: the node outlives its output's handle, and must not keep it from being collected.
  const weak = new WeakRef(t);
  node.retained ??= new Map();
  node.retained.set(t.outputIndex, (g) => {
    const target = weak.deref();
    if (!target || target.isReleased) return;
    const before = target.grad;
    target.grad = keep(before ? add(before, g) : g.alias());
    before?.release();
  });
}
