import type { DType } from '../device/dtype.js';
import { GradError } from '../device/errors.js';
import type { Storage } from '../tensor/storage.js';
import { Tensor } from '../tensor/tensor.js';
import { mode } from './mode.js';
import type { Node } from './node.js';

/** A value kept for backward. */
export interface Saved {
  /** The value, connected to `node` (its output `index`) or detached. */
  unpack(op: string, node: Node | null, index: number): Tensor;
  release(): void;
}

/** The usual case: a reference on the storage, and the version it had. */
class SavedStorage implements Saved {
  private storage: Storage | null;
  private readonly version: number;
  private readonly dtype: DType;
  private readonly shape: readonly number[];
  private readonly strides: readonly number[];
  private readonly offset: number;

  constructor(t: Tensor) {
    this.storage = t.storage.retain();
    this.version = t.storage.version;
    this.dtype = t.dtype;
    this.shape = t.shape;
    this.strides = t.strides;
    this.offset = t.offset;
  }

  unpack(op: string, node: Node | null, index: number): Tensor {
    const storage = this.storage;
    if (storage === null) {
      throw new GradError(
        `backward: the values saved by '${op}' were already freed by an earlier backward; pass { retainGraph: true } to that call`,
      );
    }
    if (storage.version !== this.version) {
      throw new GradError(
        `backward: a value saved by '${op}' was changed in place afterwards (version ${storage.version}, expected ${this.version}); ` +
          'clone() it before the change, or make the change after backward',
      );
    }
    return new Tensor(
      storage.retain(),
      this.dtype,
      this.shape,
      this.strides,
      this.offset,
      `saved by ${op}`,
      node,
      index,
    );
  }

  release(): void {
    this.storage?.release();
    this.storage = null;
  }
}

/** Saves a tensor for backward, through checkpoint's hook where one is installed. */
export function save(t: Tensor): Saved {
  return mode.saveHook ? mode.saveHook.pack(t) : new SavedStorage(t);
}

/** Saves a tensor past any hook. */
export function saveStorage(t: Tensor): Saved {
  return new SavedStorage(t);
}
