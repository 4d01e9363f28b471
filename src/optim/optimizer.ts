/** What all optimizers share: parameter groups, state in flat tensors, saving and loading. */
import { contiguousCopy } from '../autograd/contiguous.js';
import { executeInPlace } from '../autograd/op.js';
import type { DType } from '../device/dtype.js';
import { DataError, DeviceError, GradError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { fillProgram } from '../kernels/fill.js';
import { unscoped } from '../tensor/lifetime.js';
import { contiguousStrides, formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';

/** Parameters that share hyper-parameters. Schedulers, and users, change `lr` between steps. */
export type ParamGroup<O> = O & {
  params: Tensor[];
  /** The learning rate that schedulers start from. */
  initialLr?: number;
};

/** A list of parameters, or of groups whose own hyper-parameters override the common ones. */
export type Params<O> = readonly Tensor[] | readonly ({ readonly params: readonly Tensor[] } & Partial<O>)[];

/** An optimizer's state: tensors by name, for a tensor file, and the rest as JSON. */
export interface OptimizerState {
  /** `${number of the parameter}.${name}`, in the parameter's shape: the optimizer's own tensors, not copies. */
  readonly tensors: Map<string, Tensor>;
  readonly scalars: {
    readonly type: string;
    /** Per parameter: how many steps it has taken. */
    readonly steps: number[];
    /** Per group: its hyper-parameters, and the numbers of its parameters. */
    readonly groups: (Record<string, unknown> & { readonly params: number[] })[];
  };
}

/** One flat tensor per kind of state, shared by many parameters: a step binds it once for all of them. */
interface Bucket {
  readonly device: Device;
  readonly states: readonly Tensor[];
}

/** Where a parameter's state lies. */
interface Slot {
  readonly bucket: Bucket;
  readonly offset: number;
  steps: number;
  views: readonly Tensor[] | null;
}

/** Most elements of one flat tensor: 128 MiB of float32, the binding size that every WebGPU adapter has. */
const MAX_FLAT = 2 ** 25;

/** A run of parameters that one execute updates. */
export interface Batch {
  readonly grads: readonly Tensor[];
  /** The flat states, then the parameters. */
  readonly outputs: readonly Tensor[];
  readonly stateOffsets: readonly number[];
  /** Which step this is, from 1. */
  readonly step: number;
}

/**
 * The base class of optimizers. All parameters of a group are updated in a handful of dispatches; state is made at a
 * parameter's first step, kept outside scopes, and float32 also for float16 parameters.
 *
 * @source torch.optim.Optimizer
 */
export abstract class Optimizer<O extends { lr: number } = { lr: number }> {
  readonly paramGroups: ParamGroup<O>[];
  private readonly slots = new Map<Tensor, Slot>();

  /** @param name the class's name, as states and messages have it */
  constructor(
    readonly name: string,
    params: Params<O>,
    defaults: O,
  ) {
    const list: readonly unknown[] = params;
    if (list.length === 0) throw new ShapeError(`${this.name}: expected at least one parameter, got none`);
    const groups =
      list[0] instanceof Tensor
        ? [{ params: list as readonly Tensor[] }]
        : (list as readonly { params: readonly Tensor[] }[]);
    this.paramGroups = groups.map((g) => ({ ...defaults, ...g, params: [...g.params] }) as ParamGroup<O>);
    const seen = new Set<Tensor>();
    for (const group of this.paramGroups) {
      this.check(group);
      for (const p of group.params) {
        if (!p.isLeaf) {
          throw new GradError(`${this.name}: expected leaves to optimize, got the output of '${p.op}'`);
        }
        if (seen.has(p)) {
          throw new GradError(
            `${this.name}: expected every parameter once, got one of shape ${formatShape(p.shape)} twice`,
          );
        }
        seen.add(p);
      }
    }
  }

  /** Names of the state tensors that a group's hyper-parameters need; PyTorch's. */
  protected abstract stateNames(group: ParamGroup<O>): readonly string[];
  /** Updates a batch of one group. */
  protected abstract update(batch: Batch, group: ParamGroup<O>): void;
  /** @throws RangeError for hyper-parameters out of range. */
  protected abstract check(group: ParamGroup<O>): void;

  /** Gives the gradients of all parameters back; they are null until the next backward. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) {
      for (const p of params) {
        p.grad?.release();
        p.grad = null;
      }
    }
  }

  /** Updates every parameter that has a gradient, in place. Nothing waits. */
  step(): void {
    for (const group of this.paramGroups) {
      const ready = group.params.filter((p) => p.grad !== null);
      this.makeSlots(ready, this.stateNames(group).length);
      const batches = new Map<string, Tensor[]>();
      const buckets: Bucket[] = [];
      for (const p of ready) {
        const slot = this.slots.get(p)!;
        if (!buckets.includes(slot.bucket)) buckets.push(slot.bucket);
        slot.steps++;
        const key = `${buckets.indexOf(slot.bucket)}:${p.dtype}:${p.grad!.dtype}:${slot.steps}`;
        const batch = batches.get(key);
        if (batch) batch.push(p);
        else batches.set(key, [p]);
      }
      for (const batch of batches.values()) this.run(batch, group);
    }
  }

  private run(params: readonly Tensor[], group: ParamGroup<O>): void {
    const slots = params.map((p) => this.slots.get(p)!);
    const copies: Tensor[] = [];
    const grads = params.map((p) => {
      const g = p.grad!;
      if (!sameShape(g.shape, p.shape)) {
        throw new ShapeError(
          `${this.name}: expected a gradient of shape ${formatShape(p.shape)}, got ${formatShape(g.shape)}`,
        );
      }
      if (g.isContiguous) return g;
      copies.push(contiguousCopy(g));
      return copies.at(-1)!;
    });
    const outputs = [...slots[0].bucket.states, ...params];
    this.update({ grads, outputs, stateOffsets: slots.map((s) => s.offset), step: slots[0].steps }, group);
    for (const t of copies) t.release();
  }

  /** Gives a place to every parameter that has none, many of them in one flat tensor. */
  private makeSlots(params: readonly Tensor[], states: number): void {
    let waiting: Tensor[] = [];
    let size = 0;
    const flush = () => {
      if (waiting.length === 0) return;
      const { device, dtype } = waiting[0];
      const type: DType = dtype === 'float64' ? 'float64' : 'float32';
      const flats = unscoped(() => Array.from({ length: states }, () => flat(device, type, size, this.name)));
      const bucket = { device, states: flats };
      let offset = 0;
      for (const p of waiting) {
        this.slots.set(p, { bucket, offset, steps: this.slots.get(p)?.steps ?? 0, views: null });
        offset += p.numel;
      }
      waiting = [];
      size = 0;
    };
    for (const p of params) {
      const slot = this.slots.get(p);
      if (slot && slot.bucket.device !== p.device) {
        throw new DeviceError(
          `${this.name}: expected parameters on ${slot.bucket.device.info.name}, where their state is, got one on ${p.device.info.name}; ` +
            'make the optimizer after moving the model, or load its state again',
        );
      }
      if (slot && slot.bucket.states.length === states) continue;
      const [first] = waiting;
      const wide = (t: Tensor) => t.dtype === 'float64';
      if (first && (size + p.numel > MAX_FLAT || first.device !== p.device || wide(first) !== wide(p)))
        flush();
      waiting.push(p);
      size += p.numel;
    }
    flush();
  }

  /** A parameter's state tensors in its own shape; made once. */
  private views(p: Tensor, slot: Slot): readonly Tensor[] {
    slot.views ??= unscoped(() =>
      slot.bucket.states.map(
        (s) =>
          new Tensor(s.storage.retain(), s.dtype, p.shape, contiguousStrides(p.shape), slot.offset, s.op),
      ),
    );
    return slot.views;
  }

  /** The state of all parameters and groups, to be saved. @source torch.optim.Optimizer.state_dict */
  stateDict(): OptimizerState {
    const tensors = new Map<string, Tensor>();
    const steps: number[] = [];
    const groups = this.paramGroups.map((group) => {
      const { params, ...rest } = group;
      const numbers = params.map((p) => {
        const number = steps.length;
        const slot = this.slots.get(p);
        steps.push(slot?.steps ?? 0);
        if (slot) {
          this.stateNames(group).forEach((name, j) => {
            tensors.set(`${number}.${name}`, this.views(p, slot)[j]);
          });
        }
        return number;
      });
      return { ...structuredClone(rest as Record<string, unknown>), params: numbers };
    });
    return { tensors, scalars: { type: this.name, steps, groups } };
  }

  /**
   * Takes over a saved state: hyper-parameters of the groups, steps, and tensors, which are copied.
   *
   * @throws DataError for the state of another optimizer or of other parameters; nothing is changed then.
   */
  loadStateDict({ tensors, scalars }: OptimizerState): void {
    const fail = (what: string): never => {
      throw new DataError(`${this.name}.loadStateDict: ${what}`);
    };
    if (scalars.type !== this.name) fail(`expected the state of ${this.name}, got that of ${scalars.type}`);
    const counts = (list: readonly { params: readonly unknown[] }[]) => list.map((g) => g.params.length);
    if (!sameShape(counts(scalars.groups), counts(this.paramGroups))) {
      fail(
        `expected groups of ${formatShape(counts(this.paramGroups))} parameters, got ${formatShape(counts(scalars.groups))}`,
      );
    }
    const groups = this.paramGroups.map((g, i) => {
      const { params: _, ...saved } = structuredClone(scalars.groups[i]);
      return { ...g, ...saved, params: g.params } as ParamGroup<O>;
    });
    const found: { p: Tensor; number: number; sources: Tensor[] }[] = [];
    let number = 0;
    for (const group of groups) {
      for (const p of group.params) {
        const sources: Tensor[] = [];
        for (const name of scalars.steps[number] > 0 ? this.stateNames(group) : []) {
          const t =
            tensors.get(`${number}.${name}`) ?? fail(`expected a tensor '${number}.${name}', got none`);
          if (!sameShape(t.shape, p.shape)) {
            fail(
              `expected '${number}.${name}' of shape ${formatShape(p.shape)}, got ${formatShape(t.shape)}`,
            );
          }
          if (t.device !== p.device) {
            fail(
              `expected '${number}.${name}' on ${p.device.info.name}, got it on ${t.device.info.name}; move it with await x.to(device)`,
            );
          }
          sources.push(t);
        }
        found.push({ p, number, sources });
        number++;
      }
    }
    this.paramGroups.splice(0, this.paramGroups.length, ...groups);
    // A parameter without steps starts from nothing, and so does one whose state lies on a device that it has left.
    for (const { p, number } of found) {
      if (!(scalars.steps[number] > 0) || this.slots.get(p)?.bucket.device !== p.device) this.slots.delete(p);
    }
    for (const group of groups) {
      const taken = group.params.filter((p) => scalars.steps[found.find((f) => f.p === p)!.number] > 0);
      this.makeSlots(taken, this.stateNames(group).length);
    }
    for (const { p, number, sources } of found) {
      const slot = this.slots.get(p);
      if (!slot) continue;
      slot.steps = scalars.steps[number];
      const views = this.views(p, slot);
      sources.forEach((source, j) => {
        if (source.storage !== views[j].storage) executeInPlace(copyProgram, [source], [views[j]], null);
      });
    }
  }
}

/** Zeros that live as long as the optimizer. */
function flat(device: Device, dtype: DType, size: number, op: string): Tensor {
  const t = Tensor.allocate(device, dtype, [size], op);
  executeInPlace(fillProgram, [], [t], 0);
  return t;
}

/** @internal @throws RangeError unless low ≤ value < high. */
export function checkRange(op: string, name: string, value: number, low = 0, high = Infinity): void {
  if (!(value >= low && value < high)) {
    const range = high === Infinity ? `a number of at least ${low}` : `a number in [${low}, ${high})`;
    throw new RangeError(`${op}: expected ${name} to be ${range}, got ${value}`);
  }
}
