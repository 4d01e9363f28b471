/** Trading time for memory: values are dropped after forward and computed again when backward asks. */
import { GradError } from '../device/errors.js';
import { scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { enableGrad, mode, type SaveHook } from './mode.js';
import type { Node } from './node.js';
import { type Saved, save, saveStorage } from './saved.js';

/**
 * What one checkpointed call saves: nothing but its inputs, until the first value is asked for; then the function runs
 * again and everything that it would have saved is there.
 */
class Recomputation {
  private readonly inputs: readonly { saved: Saved; requiresGrad: boolean }[];
  private readonly random = defaultGenerator.getState();
  private readonly autocast = mode.autocast;
  private values: (Saved | null)[] | null = null;
  private count = 0;
  /** Slots that nobody will ask for any more, by number. */
  private readonly freed = new Set<number>();
  /** Saved slots that may still be asked for; the inputs and values go with the last. */
  private open = 0;

  constructor(
    private readonly fn: (...inputs: Tensor[]) => unknown,
    inputs: readonly Tensor[],
  ) {
    this.inputs = inputs.map((t) => ({ saved: save(t), requiresGrad: t.requiresGrad }));
  }

  /** Runs the function for its result; every save becomes a slot. */
  forward<R>(inputs: readonly Tensor[]): R {
    const hook: SaveHook = {
      pack: () => {
        this.open++;
        return this.slot(this.count++);
      },
    };
    const result = withHook(hook, () => this.fn(...inputs) as R);
    if (this.open === 0) this.releaseInputs();
    return result;
  }

  private slot(index: number): Saved {
    return {
      unpack: (op: string, node: Node | null, output: number): Tensor => {
        if (this.freed.has(index)) {
          throw new GradError(
            `backward: the values saved by '${op}' were already freed by an earlier backward; pass { retainGraph: true } to that call`,
          );
        }
        this.values ??= this.recompute();
        return this.values[index]!.unpack(op, node, output);
      },
      release: () => {
        if (this.freed.has(index)) return;
        this.freed.add(index);
        this.values?.[index]?.release();
        if (--this.open === 0) this.releaseInputs();
      },
    };
  }

  private recompute(): Saved[] {
    const values: Saved[] = [];
    const hook: SaveHook = {
      pack: (t) => {
        const saved = saveStorage(t);
        values.push(saved);
        // The nodes of the second run are thrown away at once; their values are not.
        return { unpack: (...args) => saved.unpack(...args), release: () => {} };
      },
    };
    const now = defaultGenerator.getState();
    const { inBackward, autocast } = mode;
    defaultGenerator.setState(this.random);
    Object.assign(mode, { inBackward: false, autocast: this.autocast });
    try {
      scope(() =>
        enableGrad(() => {
          const inputs = this.inputs.map(({ saved, requiresGrad }) =>
            saved.unpack('checkpoint', null, 0).requiresGrad_(requiresGrad),
          );
          withHook(hook, () => this.fn(...inputs));
        }),
      );
    } finally {
      defaultGenerator.setState(now);
      Object.assign(mode, { inBackward, autocast });
    }
    if (values.length !== this.count) {
      for (const v of values) v.release();
      throw new GradError(
        `checkpoint: expected the function to save ${this.count} values again in backward, got ${values.length}; it must do the same both times`,
      );
    }
    // What a branch saved that went unused, or was freed before: nobody else would release it.
    for (const index of this.freed) values[index].release();
    return values;
  }

  private releaseInputs(): void {
    for (const { saved } of this.inputs) saved.release();
  }
}

function withHook<R>(hook: SaveHook, fn: () => R): R {
  const before = mode.saveHook;
  mode.saveHook = hook;
  try {
    return fn();
  } finally {
    mode.saveHook = before;
  }
}

/**
 * Calls `fn(...inputs)` without keeping the values that backward would need; backward runs `fn` again, with the same
 * random numbers, when it gets there. Tensors that `fn` only closes over (parameters) get their gradients as usual.
 *
 * @param fn must do the same both times.
 * @throws GradError in backward when the second run saves another number of values.
 * @source torch.utils.checkpoint.checkpoint(use_reentrant=False); Chen et al., Training deep nets with sublinear memory
 *   cost (2016).
 * @example
 * const y = checkpoint((h) => block.forward(h), x);
 */
export function checkpoint<I extends Tensor[], R>(fn: (...inputs: I) => R, ...inputs: I): R {
  if (!mode.gradEnabled) return fn(...inputs);
  // The scope returns what fn made on the way; its result stays.
  return scope(() => new Recomputation(fn as (...inputs: Tensor[]) => unknown, inputs).forward<R>(inputs));
}
