/** What all optimizers share: parameter groups, state in flat tensors, saving and loading. */
import { contiguousCopy } from '../autograd/contiguous.js';
import { executeInPlace } from '../autograd/op.js';
import type { DType } from '../device/dtype.js';
import { DataError, DeviceError, GradError, ShapeError } from '../device/errors.js';
import { inPhase } from '../device/tracing.js';
import type { Device } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { fillProgram } from '../kernels/fill.js';
import { CLOCK, type MultiTensorUpdate } from '../kernels/multi-tensor.js';
import { capturing, untracked } from '../tensor/capturing.js';
import { fromHost } from '../tensor/factories.js';
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
  /**
   * `${number of the parameter}.${name}`, in the parameter's shape, and its scalar `.step`, how many it has taken: the
   * optimizer's own tensors, not copies.
   */
  readonly tensors: Map<string, Tensor>;
  readonly scalars: {
    readonly type: string;
    /** Per parameter: the number of its clock, or null before its first step. Those of one clock have always stepped together. */
    readonly clocks: (number | null)[];
    /** Per group: its hyper-parameters, and the numbers of its parameters. */
    readonly groups: (Record<string, unknown> & { readonly params: number[] })[];
  };
}

/** One flat tensor of state, shared by many parameters: a step binds it once for all of them. */
interface Bucket {
  readonly device: Device;
  /** Of the states; float64 for float64 parameters. */
  readonly dtype: DType;
  /** How many numbers there are per element of a parameter. */
  readonly states: number;
  /** Null where there are none. */
  readonly flat: Tensor | null;
}

/** A clock of multi-tensor.ts, shared by parameters of a group that have always stepped together. */
interface Clock {
  readonly tensor: Tensor;
  /** Its element `step`, for saving. */
  readonly step: Tensor;
  /** The learning rate that it holds. */
  lr: number;
  members: number;
}

/** Where a parameter's state lies. */
interface Slot {
  readonly bucket: Bucket;
  readonly offset: number;
  /** Null before the first step. */
  clock: Clock | null;
  views: readonly Tensor[] | null;
}

/** Most elements of one flat tensor: 128 MiB of float32, the binding size that every WebGPU adapter has. */
const MAX_FLAT = 2 ** 25;

/** What a group's hyper-parameters mean. */
export interface Rule<P> {
  readonly programs: MultiTensorUpdate<P>;
  /** All but the learning rate, which the clock holds: `lr` may change between replays of a captured step, these may not. */
  readonly params: P;
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
  protected abstract rule(group: ParamGroup<O>): Rule<unknown>;
  /** @throws RangeError for hyper-parameters out of range. */
  protected abstract check(group: ParamGroup<O>): void;

  /** Gives the gradients of all parameters back; they are null until the next backward. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) {
      capturing.current?.gradsZeroed(params);
      for (const p of params) {
        p.grad?.release();
        p.grad = null;
      }
    }
  }

  /**
   * Updates every parameter that has a gradient, in place. Nothing waits.
   *
   * @param options.foundInf a float32 scalar on the device; where it is not 0, nothing is updated and no step counted
   *   (see GradScaler)
   */
  step(options: { readonly foundInf?: Tensor } = {}): void {
    inPhase('optimizer', () => this.update(options.foundInf));
  }

  private update(foundInf: Tensor | undefined): void {
    for (const group of this.paramGroups) {
      const ready = group.params.filter((p) => p.grad !== null);
      if (ready.length === 0) continue;
      const rule = this.rule(group);
      this.makeSlots(ready, this.stateNames(group).length);
      const clocks = this.clocks(ready);
      for (const clock of clocks) {
        this.pushRate(clock, group);
        if (foundInf || rule.programs.counts) {
          executeInPlace(rule.programs.tick, foundInf ? [foundInf] : [], [clock.tensor], rule.params);
        }
      }
      const batches = new Map<string, Tensor[]>();
      const buckets: Bucket[] = [];
      for (const p of ready) {
        const slot = this.slots.get(p)!;
        if (!buckets.includes(slot.bucket)) buckets.push(slot.bucket);
        const key = `${buckets.indexOf(slot.bucket)}:${p.dtype}:${p.grad!.dtype}:${clocks.indexOf(slot.clock!)}`;
        const batch = batches.get(key);
        if (batch) batch.push(p);
        else batches.set(key, [p]);
      }
      for (const batch of batches.values()) this.run(batch, rule);
    }
  }

  /** The clocks of parameters that step now. One that others share, who do not step, is left to those. */
  private clocks(ready: readonly Tensor[]): Clock[] {
    const stepping = new Map<Clock | Bucket, Slot[]>();
    for (const p of ready) {
      const slot = this.slots.get(p)!;
      const key = slot.clock ?? slot.bucket;
      const slots = stepping.get(key);
      if (slots) slots.push(slot);
      else stepping.set(key, [slot]);
    }
    return [...stepping.values()].map((slots) => {
      const old = slots[0].clock;
      if (old?.members === slots.length) return old;
      const clock = makeClock(slots[0].bucket, slots.length, this.name);
      if (old) {
        old.members -= slots.length;
        untracked(() => executeInPlace(copyProgram, [old.step], [clock.step], null));
      }
      for (const slot of slots) slot.clock = clock;
      return clock;
    });
  }

  /** Brings the learning rate on the device up to date; in a capture, before every replay. */
  private pushRate(clock: Clock, group: ParamGroup<O>): void {
    const push = (): void => {
      if (clock.lr === group.lr) return;
      clock.lr = group.lr;
      const { tensor } = clock;
      const value = tensor.dtype === 'float64' ? Float64Array.of(clock.lr) : Float32Array.of(clock.lr);
      tensor.device.write(tensor.buffer, value, CLOCK.lr * value.byteLength);
    };
    untracked(push);
    capturing.current?.beforeReplay(push);
  }

  private run(params: readonly Tensor[], rule: Rule<unknown>): void {
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
    const { flat } = slots[0].bucket;
    const outputs = flat ? [flat, ...params] : params;
    const stateOffsets = slots.map((s) => s.offset);
    const inputs = [slots[0].clock!.tensor, ...grads];
    executeInPlace(rule.programs.update, inputs, outputs, { ...(rule.params as object), stateOffsets });
    for (const t of copies) t.release();
  }

  /** Gives a place to every parameter that has none, many of them in one flat tensor. */
  private makeSlots(params: readonly Tensor[], states: number): void {
    let waiting: Tensor[] = [];
    let size = 0;
    const flush = () => {
      if (waiting.length === 0) return;
      const { device } = waiting[0];
      const dtype: DType = waiting[0].dtype === 'float64' ? 'float64' : 'float32';
      const made = states > 0 ? unscoped(() => flat(device, dtype, size, this.name)) : null;
      const bucket = { device, dtype, states, flat: made };
      let offset = 0;
      for (const p of waiting) {
        this.slots.set(p, { bucket, offset, clock: this.slots.get(p)?.clock ?? null, views: null });
        offset += p.numel * states;
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
      if (slot && slot.bucket.states === states) continue;
      const [first] = waiting;
      const wide = (t: Tensor) => t.dtype === 'float64';
      if (
        first &&
        (size + p.numel * states > MAX_FLAT || first.device !== p.device || wide(first) !== wide(p))
      )
        flush();
      waiting.push(p);
      size += p.numel * states;
    }
    flush();
  }

  /** A parameter's state tensors in its own shape; made once. */
  private views(p: Tensor, slot: Slot): readonly Tensor[] {
    const { flat, states } = slot.bucket;
    slot.views ??= unscoped(() =>
      Array.from({ length: states }, (_, j) => {
        const offset = slot.offset + j * p.numel;
        return new Tensor(
          flat!.storage.retain(),
          flat!.dtype,
          p.shape,
          contiguousStrides(p.shape),
          offset,
          flat!.op,
        );
      }),
    );
    return slot.views;
  }

  /** The state of all parameters and groups, to be saved. @source torch.optim.Optimizer.state_dict */
  stateDict(): OptimizerState {
    const tensors = new Map<string, Tensor>();
    const clocks: (number | null)[] = [];
    const seen: Clock[] = [];
    const groups = this.paramGroups.map((group) => {
      const { params, ...rest } = group;
      const numbers = params.map((p) => {
        const number = clocks.length;
        const slot = this.slots.get(p);
        const names = this.stateNames(group);
        if (!slot?.clock || names.length === 0) clocks.push(null);
        else {
          if (!seen.includes(slot.clock)) seen.push(slot.clock);
          clocks.push(seen.indexOf(slot.clock));
          tensors.set(`${number}.step`, slot.clock.step);
          names.forEach((name, j) => {
            tensors.set(`${number}.${name}`, this.views(p, slot)[j]);
          });
        }
        return number;
      });
      return { ...structuredClone(rest as Record<string, unknown>), params: numbers };
    });
    return { tensors, scalars: { type: this.name, clocks, groups } };
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
    const stepped = (number: number): boolean => scalars.clocks[number] !== null;
    const found: { p: Tensor; number: number; sources: Tensor[] }[] = [];
    let number = 0;
    for (const group of groups) {
      for (const p of group.params) {
        const sources: Tensor[] = [];
        for (const name of stepped(number) ? [...this.stateNames(group), 'step'] : []) {
          const t =
            tensors.get(`${number}.${name}`) ?? fail(`expected a tensor '${number}.${name}', got none`);
          const shape = name === 'step' ? [] : p.shape;
          if (!sameShape(t.shape, shape)) {
            fail(`expected '${number}.${name}' of shape ${formatShape(shape)}, got ${formatShape(t.shape)}`);
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
      if (!stepped(number) || this.slots.get(p)?.bucket.device !== p.device) this.slots.delete(p);
    }
    for (const group of groups) {
      const taken = group.params.filter((p) => stepped(found.find((f) => f.p === p)!.number));
      this.makeSlots(taken, this.stateNames(group).length);
    }
    const clocks = new Map<number, Clock>();
    for (const { p, number, sources } of found) {
      const slot = this.slots.get(p);
      if (!slot) continue;
      const states = sources.slice(0, -1);
      const step = sources[states.length];
      const id = scalars.clocks[number]!;
      let clock = clocks.get(id);
      if (!clock) {
        clocks.set(id, (clock = makeClock(slot.bucket, 0, this.name)));
        executeInPlace(copyProgram, [step], [clock.step], null);
      }
      clock.members++;
      slot.clock = clock;
      const views = this.views(p, slot);
      states.forEach((source, j) => {
        if (source.storage !== views[j].storage) executeInPlace(copyProgram, [source], [views[j]], null);
      });
    }
  }
}

/** A clock before its first step, that lives as long as the optimizer. */
function makeClock({ device, dtype }: Bucket, members: number, op: string): Clock {
  return unscoped(() => {
    const values = new Float64Array(CLOCK.size);
    values[CLOCK.active] = 1;
    const tensor = fromHost(values, [CLOCK.size], { dtype, device }, op);
    const step = new Tensor(tensor.storage.retain(), dtype, [], [], CLOCK.step, op);
    return { tensor, step, lr: 0, members };
  });
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
