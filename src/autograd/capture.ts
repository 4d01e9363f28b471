/** Capturing a step: its work is noted once and then repeated without making a tensor or walking a graph. */
import { DataError, GradError } from '../device/errors.js';
import { inPhase } from '../device/tracing.js';
import type { Device, Recording } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { type Capturing, capturing } from '../tensor/capturing.js';
import { defaultDevice } from '../tensor/default-device.js';
import { keep, place, scope, unscoped } from '../tensor/lifetime.js';
import { formatShape } from '../tensor/shape.js';
import type { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';

/** A captured function: call it as the original one. */
export interface Captured<I extends readonly unknown[], O> {
  (...inputs: I): O;
  /** What it has done so far. */
  readonly stats: CaptureStats;
  /** Gives the memory of all captures back; the next call captures anew. */
  release(): void;
}

export interface CaptureStats {
  /** How often the function itself has run, being captured. */
  readonly captures: number;
  readonly replays: number;
  /** Dispatches (or programs, on the CPU device) of one replay of the latest capture. */
  readonly dispatches: number;
  /** Bytes that the latest capture holds for intermediate results. */
  readonly bytes: number;
}

export interface CaptureOptions {
  /** For functions whose inputs hold no tensor. Default: the default device. */
  readonly device?: Device;
}

/** One captured run, for inputs of one form. */
interface Entry<O> {
  readonly recording: Recording;
  /** What the recording reads its inputs from. */
  readonly inputs: readonly Tensor[];
  /** What the function returned, and the tensors in it, held under handles of our own. */
  outputs: O;
  readonly held: readonly Tensor[];
  readonly before: readonly (() => void)[];
  /** What every replay writes in place. */
  readonly changed: ReadonlySet<Storage>;
}

/** Captures that are kept, for as many forms of the inputs, before the one used longest ago goes. */
const MAX_ENTRIES = 8;

/** Gives back what functions nobody holds any more have captured. */
const collected = new FinalizationRegistry<Map<string, Entry<unknown>>>((entries) => {
  for (const entry of entries.values()) releaseEntry(entry);
});

/**
 * Makes a function repeatable: the first call with inputs of given shapes runs it and notes the device's work, further
 * calls copy their inputs in and do the same work again. Results are those of the function itself, bit for bit; what
 * JavaScript did in it is not repeated, nor is work that nothing outside depends on.
 *
 * - Learning rates of optimizers, their step counts and random numbers move on from call to call. Everything else that
 *   is no input stays as it was: other hyper-parameters, `train()` or `eval()`, numbers, tensors made from host values.
 * - The tensors returned are the same ones at every call, overwritten by the next: read them (`await loss.item()`), or
 *   start to, before it.
 * - Gradients begin and end a step as null, or are set back to null inside: call `optimizer.zeroGrad()` in it.
 * - Inputs of another form are captured anew; so is everything when a tensor that was used has gone.
 *
 * @param fn synchronous; its inputs and result may be tensors, or arrays and plain objects of tensors, numbers, strings
 * @throws GradError where the step reads values on the host, or leaves gradients behind; DataError for inputs of other
 *   kinds, and for results on another device than the inputs'
 * @source torch.cuda.graph
 * @example
 * const step = capture((x: Tensor, y: Tensor) => {
 *   const loss = crossEntropy(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   optimizer.zeroGrad();
 *   return loss;
 * });
 */
export function capture<I extends readonly unknown[], O>(
  fn: (...inputs: I) => O,
  options: CaptureOptions = {},
): Captured<I, O> {
  const entries = new Map<string, Entry<O>>();
  const stats = { captures: 0, replays: 0, dispatches: 0, bytes: 0 };
  const call = (...inputs: I): O => {
    if (capturing.current) {
      throw capturing.current.refuse('called a captured function; call the function itself');
    }
    const tensors: Tensor[] = [];
    const form = describe(inputs, tensors);
    const device = tensors[0]?.device ?? options.device ?? defaultDevice();
    const known = entries.get(form);
    if (known && !known.recording.stale) {
      entries.delete(form);
      entries.set(form, known);
      stats.replays++;
      return inPhase('replay', () => replay(known, tensors));
    }
    if (known) releaseEntry(known);
    entries.delete(form);
    if (entries.size >= MAX_ENTRIES) {
      const [oldest, entry] = entries.entries().next().value!;
      entries.delete(oldest);
      releaseEntry(entry);
    }
    const entry = record(fn, inputs, tensors, device);
    entries.set(form, entry);
    stats.captures++;
    stats.dispatches = entry.recording.dispatches;
    stats.bytes = entry.recording.bytes;
    return entry.outputs;
  };
  const release = (): void => {
    for (const entry of entries.values()) releaseEntry(entry);
    entries.clear();
  };
  const captured = Object.assign(call, { stats, release });
  collected.register(captured, entries as Map<string, Entry<unknown>>);
  return captured;
}

function replay<O>(entry: Entry<O>, tensors: readonly Tensor[]): O {
  for (let i = 0; i < entry.before.length; i++) entry.before[i]();
  tensors.forEach((t, i) => copyInto(t, entry.inputs[i]));
  entry.recording.replay();
  for (const storage of entry.changed) storage.version++;
  // Somebody has released what an earlier call returned.
  if (listTensors(entry.outputs).some((t) => t.isReleased)) entry.outputs = revived(entry);
  return entry.outputs;
}

function record<I extends readonly unknown[], O>(
  fn: (...inputs: I) => O,
  inputs: I,
  tensors: readonly Tensor[],
  device: Device,
): Entry<O> {
  const statics = tensors.map((t) => {
    if (t.requiresGrad) {
      throw new GradError(
        `capture: expected inputs that require no gradient, got one of shape ${formatShape(t.shape)} that does; use detach()`,
      );
    }
    if (t.device !== device) {
      throw new DataError(
        `capture: expected inputs on one device, got ${device.info.name} and ${t.device.info.name}`,
      );
    }
    const input = unscoped(() => Tensor.allocate(device, t.dtype, t.shape, 'capture'));
    copyInto(t, input);
    return input;
  });
  const before: (() => void)[] = [];
  const ends: (() => void)[] = [];
  const changed = new Set<Storage>();
  const grads = new Grads();
  let refused: Error | null = null;
  const session = device.capture();
  const current: Capturing = {
    device,
    untracked: (work) => session.untracked(work),
    beforeReplay: (work) => before.push(work),
    atEnd: (work) => ends.push(work),
    changed: (storage) => changed.add(storage),
    gradsZeroed: (params) => grads.zeroed(params),
    gradAdded: (leaf, first) => {
      if (!grads.added(leaf, first)) throw current.refuse('added to gradients from before it');
    },
    refuse: (what) => {
      refused ??= new GradError(
        `capture: expected a step that can be repeated without the host, got one that ${what} at ${place()}; ` +
          'do that outside, with what the step returns',
      );
      return refused;
    },
  };
  let recording: Recording | null = null;
  try {
    capturing.current = current;
    const result = scope(() => {
      let next = 0;
      const given = substitute(inputs, () => statics[next++]) as I;
      const value = fn(...given);
      return substitute(value, (t) => (t.requiresGrad ? t.detach() : t)) as O;
    });
    if (refused) throw refused;
    grads.check();
    const stray = listTensors(result).find((t) => t.device !== device);
    if (stray) {
      throw new DataError(
        `capture: expected the step's work on ${device.info.name}, got a result on ${stray.device.info.name}; ` +
          'pass inputs that lie there, or { device }',
      );
    }
    for (const end of ends.splice(0)) end();
    capturing.current = null;
    recording = session.end();
    const held = listTensors(result).map((t) => {
      keep(t);
      return unscoped(() => t.alias());
    });
    for (const t of held) changed.add(t.storage);
    return { recording, inputs: statics, outputs: result, held, before, changed };
  } finally {
    capturing.current = null;
    if (!recording) {
      for (const end of ends) end();
      session.abort();
      for (const t of statics) t.release();
    }
  }
}

/** Follows the gradients of leaves through a step. */
class Grads {
  private readonly cleared = new Set<Tensor>();
  private readonly made = new Set<Tensor>();

  zeroed(params: readonly Tensor[]): void {
    for (const p of params) this.cleared.add(p);
  }

  /** Whether what the gradient is added to was made in the step as well. */
  added(leaf: Tensor, first: boolean): boolean {
    if (first) this.made.add(leaf);
    return this.made.has(leaf);
  }

  /** @throws GradError for gradients that a repeated step would overwrite where the step itself would add to them. */
  check(): void {
    // Set to null in the step and left at its end: then it was at the start, and a repetition overwrites rightly.
    const left = [...this.made].filter((p) => p.grad !== null && !this.cleared.has(p));
    if (left.length === 0) return;
    throw new GradError(
      `capture: expected gradients that are used up in the step, got ${left.length} left behind; ` +
        'call optimizer.zeroGrad() in the step',
    );
  }
}

function copyInto(from: Tensor, to: Tensor): void {
  if (from.storage === to.storage) return;
  to.device.execute(copyProgram, [from], [to], null);
  to.storage.version++;
}

/** The outputs with new handles for those that were released. */
function revived<O>({ outputs, held }: Entry<O>): O {
  let next = 0;
  return substitute(outputs, (t) => {
    const mine = held[next++];
    return t.isReleased ? unscoped(() => mine.alias()) : t;
  }) as O;
}

function releaseEntry(entry: Entry<unknown>): void {
  entry.recording.release();
  for (const t of [...entry.inputs, ...entry.held]) t.release();
}

/** The same structure with every tensor replaced. */
function substitute(value: unknown, by: (t: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return by(value);
  if (Array.isArray(value)) return value.map((v) => substitute(v, by));
  if (isPlain(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, substitute(v, by)]));
  }
  return value;
}

function listTensors(value: unknown): Tensor[] {
  const tensors: Tensor[] = [];
  substitute(value, (t) => {
    tensors.push(t);
    return t;
  });
  return tensors;
}

/** The form of inputs as text: structure, shapes, dtypes, and all that is no tensor. Collects the tensors. */
function describe(value: unknown, tensors: Tensor[]): string {
  if (value instanceof Tensor) {
    tensors.push(value);
    return `${value.dtype}[${value.shape}]`;
  }
  if (Array.isArray(value)) return `[${value.map((v) => describe(v, tensors)).join()}]`;
  if (isPlain(value)) {
    return `{${Object.entries(value).map(([key, v]) => `${JSON.stringify(key)}:${describe(v, tensors)}`)}}`;
  }
  if (value === null || ['undefined', 'number', 'string', 'boolean'].includes(typeof value)) {
    return typeof value === 'string' ? JSON.stringify(value) : String(value);
  }
  throw new DataError(
    `capture: expected inputs of tensors, numbers, strings, arrays and plain objects, got ${
      typeof value === 'object' ? `a ${value.constructor.name}` : `a ${typeof value}`
    }`,
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
