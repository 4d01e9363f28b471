/** The one place where operations are defined and run. */
import { type DType, isFloat } from '../device/dtype.js';
import { DeviceError, DTypeError } from '../device/errors.js';
import type {
  Device,
  Dispatch,
  HostArray,
  KernelCall,
  Program,
  SimdModule,
  SimdView,
} from '../device/types.js';
import { capturing } from '../tensor/capturing.js';
import type { Shape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { contiguousCopy } from './contiguous.js';
import { mode } from './mode.js';
import { Node } from './node.js';
import { save } from './saved.js';

/** Shape and dtype of an output, or what `infer` sees of an input. */
export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What a backward formula may read. */
export interface BackwardContext<P> {
  /** Gradient of the first output. */
  readonly gradOutput: Tensor;
  /** Gradients of all outputs; null where none arrived. */
  readonly gradOutputs: readonly (Tensor | null)[];
  readonly params: P;
  /** A saved input. @throws Error unless `saves` names it. */
  input(i: number): Tensor;
  /** A saved output. @throws Error unless `saves` names it. */
  output(i?: number): Tensor;
  /** Whether the gradient of input i is wanted; others may be null. */
  needs(i: number): boolean;
  readonly inputShapes: readonly Shape[];
}

/** What backward may read: an input by number, or 'output' (the first), or 'output1', … */
export type SaveName = number | 'output' | `output${number}`;

/**
 * The definition of an operation: everything the engine knows about it, in one literal.
 *
 * `host` and `kernel` get inputs as `layout` says: 'contiguous' inputs are row-major with offset 0 or more (default),
 * 'strided' ones come as they are, also broadcast (stride 0) and transposed.
 */
export interface OpDefinition<P> extends Program<P> {
  readonly name: string;
  /** Which layouts the implementations take: for all inputs, or input by input. */
  readonly layout?: 'strided' | 'contiguous' | readonly ('strided' | 'contiguous')[];
  /** Output shapes and dtypes; throws ShapeError or DTypeError. */
  infer(inputs: readonly Spec[], params: P): Spec | readonly Spec[];
  host(inputs: readonly HostArray[], outputs: readonly HostArray[], params: P): void;
  kernel(call: KernelCall<P>): readonly Dispatch[];
  simd?(module: SimdModule, inputs: readonly SimdView[], outputs: readonly SimdView[], params: P): boolean;
  /** What backward reads; everything else is free to go. */
  readonly saves?: readonly SaveName[] | ((params: P) => readonly SaveName[]);
  /** Gradients of the inputs, in order, written in operations so that they can be differentiated again. */
  backward?(context: BackwardContext<P>): readonly (Tensor | null | undefined)[];
  /** Says that an op with floating-point output has no gradient on purpose. */
  readonly differentiable?: false;
  /**
   * What mixed precision does with floating-point inputs: 'half' computes in float16, 'full' in float32, 'never' leaves
   * them; otherwise they are brought to the widest of them.
   */
  readonly autocast?: 'half' | 'full' | 'never';
  /** Inputs need not share a dtype (indices, masks); `infer` checks them. */
  readonly mixedDTypes?: boolean;
}

/** A defined operation, callable. */
export interface Op<I extends readonly Tensor[], P> {
  (inputs: I, params: P): Tensor;
  /** All outputs, for operations that have several. */
  all(inputs: I, params: P): Tensor[];
  readonly definition: OpDefinition<P>;
}

/** Every defined operation by name. */
export const registry = new Map<string, OpDefinition<never>>();

/**
 * Defines and registers an operation.
 *
 * @throws Error when the name is taken, or when there is neither `backward` nor `differentiable: false`: an operation
 *   without a gradient must say so.
 */
export function defineOp<I extends readonly Tensor[], P>(definition: OpDefinition<P>): Op<I, P> {
  register(definition);
  const all = (inputs: I, params: P) => run(definition, inputs, params);
  return Object.assign((inputs: I, params: P) => all(inputs, params)[0], { all, definition });
}

function register<P>(definition: OpDefinition<P>): void {
  const { name } = definition;
  if (registry.has(name)) throw new Error(`defineOp: the name '${name}' is taken`);
  if (!definition.backward && definition.differentiable !== false) {
    throw new Error(
      `defineOp: expected '${name}' to have backward or to say differentiable: false, got neither`,
    );
  }
  if (definition.backward && definition.differentiable === false) {
    throw new Error(`defineOp: expected '${name}' to have backward or differentiable: false, got both`);
  }
  registry.set(name, definition as OpDefinition<never>);
}

/** Runs an operation: infer, allocate, execute, record. */
function run<P>(def: OpDefinition<P>, given: readonly Tensor[], params: P): Tensor[] {
  // Backward computes in what forward has computed in.
  const inputs = mode.autocast && !mode.inBackward ? mode.autocast.inputs(def, given) : given;
  const first = inputs[0];
  const device = first.device;
  let tracked = false;
  for (let i = 0; i < inputs.length; i++) {
    const t = inputs[i];
    if (t.device !== device) {
      throw new DeviceError(
        `${def.name}: expected tensors on one device, got ${first.device.info.name} and ${t.device.info.name}; move one with await x.to(device)`,
      );
    }
    if (!def.mixedDTypes && t.dtype !== first.dtype) {
      throw new DTypeError(
        `${def.name}: expected one dtype, got ${inputs.map((x) => x.dtype).join(' and ')}; convert with x.to('${first.dtype}')`,
      );
    }
    tracked ||= t.requiresGrad;
  }
  const inferred = def.infer(inputs, params);
  const specs = Array.isArray(inferred) ? (inferred as readonly Spec[]) : [inferred as Spec];
  const node = tracked && mode.gradEnabled && def.backward ? makeNode(def, inputs, params) : null;

  let views = inputs;
  let temporary: Tensor[] | null = null;
  for (let i = 0; i < inputs.length; i++) {
    const layout = def.layout === undefined || typeof def.layout === 'string' ? def.layout : def.layout[i];
    if (layout === 'strided' || inputs[i].isContiguous) continue;
    if (views === inputs) views = [...inputs];
    const copy = contiguousCopy(inputs[i]);
    (views as Tensor[])[i] = copy;
    (temporary ??= []).push(copy);
  }

  const outputs: Tensor[] = [];
  for (let i = 0; i < specs.length; i++) {
    const { shape, dtype } = specs[i];
    // Index and mask outputs (argmax, topk's indices) carry no gradient.
    outputs.push(Tensor.allocate(device, dtype, shape, def.name, isFloat(dtype) ? node : null, i));
  }
  device.execute(def, views, outputs, params);
  if (temporary) for (const t of temporary) t.release();
  if (node) {
    node.outputShapes = specs.map((s) => s.shape);
    const names = saveNames(def, params);
    node.saved = names.map((name) =>
      save(typeof name === 'number' ? inputs[name] : outputs[outputNumber(name)]),
    );
  }
  mode.observer?.ran(def.name, inputs, outputs, params);
  return outputs;
}

const NO_SAVES: readonly SaveName[] = [];

function saveNames<P>(def: OpDefinition<P>, params: P): readonly SaveName[] {
  return typeof def.saves === 'function' ? def.saves(params) : (def.saves ?? NO_SAVES);
}

function outputNumber(name: string): number {
  return name === 'output' ? 0 : Number(name.slice('output'.length));
}

function makeNode<P>(def: OpDefinition<P>, inputs: readonly Tensor[], params: P): Node {
  const inputShapes = inputs.map((t) => t.shape);
  return new Node(def.name, inputs[0].device, inputs, (node, gradOutputs) => {
    const names = saveNames(def, params);
    const slot = (name: SaveName): number => {
      const at = names.indexOf(name);
      if (at < 0) throw new Error(`${def.name}: backward reads '${name}', which saves does not name`);
      return at;
    };
    return def.backward!({
      gradOutput: gradOutputs[0]!,
      gradOutputs,
      params,
      inputShapes,
      needs: (i) => node.needs(i),
      input: (i) => node.unpackInput(slot(i), i),
      output: (i = 0) => node.unpackOutput(slot(i === 0 ? 'output' : `output${i}`), i),
    });
  });
}

/** Where a view lies in its input's storage. */
export interface Layout {
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

/** An operation that only looks at storage in other ways, one or several. */
export interface ViewsDefinition<P> {
  readonly name: string;
  views(input: Tensor, params: P): readonly Layout[];
  /** Gradient of the input; those of views that nobody used are null. */
  backward(gradOutputs: readonly (Tensor | null)[], params: P, input: Spec & { device: Device }): Tensor;
}

/** Every defined view operation by name. */
export const viewRegistry = new Map<string, ViewsDefinition<never>>();

/** Defines and registers an operation that gives several views. */
export function defineViews<P>(def: ViewsDefinition<P>): (input: Tensor, params: P) => Tensor[] {
  if (registry.has(def.name) || viewRegistry.has(def.name)) {
    throw new Error(`defineViews: the name '${def.name}' is taken`);
  }
  viewRegistry.set(def.name, def as ViewsDefinition<never>);
  return (input, params) => {
    const layouts = def.views(input, params);
    const { shape, dtype, device } = input;
    const node =
      mode.gradEnabled && input.requiresGrad
        ? new Node(def.name, device, [input], (_, grads) => [
            def.backward(grads, params, { shape, dtype, device }),
          ])
        : null;
    if (node) {
      node.outputShapes = layouts.map((l) => l.shape);
    }
    return layouts.map(
      (l, i) => new Tensor(input.storage.retain(), dtype, l.shape, l.strides, l.offset, def.name, node, i),
    );
  };
}

/** An operation of one view. */
export interface ViewDefinition<P> {
  readonly name: string;
  view(input: Tensor, params: P): Layout;
  backward(gradOutput: Tensor, params: P, inputShape: Shape): Tensor;
}

/** Defines and registers a view. */
export function defineView<P>(def: ViewDefinition<P>): (input: Tensor, params: P) => Tensor {
  const views = defineViews<P>({
    name: def.name,
    views: (input, params) => [def.view(input, params)],
    backward: ([g], params, { shape }) => def.backward(g!, params, shape),
  });
  return (input, params) => views(input, params)[0];
}

/** Runs a program that writes into existing tensors, and counts the write. For optimizers and in-place methods. */
export function executeInPlace<P>(
  program: Program<P>,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  params: P,
): void {
  outputs[0].device.execute(program, inputs, outputs, params);
  for (const { storage } of outputs) {
    storage.version++;
    capturing.current?.changed(storage);
  }
}
