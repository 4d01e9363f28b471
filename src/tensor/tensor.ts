import { type DType, ITEM_SIZE, isFloat } from '../device/dtype.js';
import { DTypeError, GradError, ReleasedTensorError, ShapeError } from '../device/errors.js';
import type { Device, DeviceBuffer, View } from '../device/types.js';
import { capturing } from './capturing.js';
import { decode } from './host.js';
import { adopt, forget, type Scope } from './lifetime.js';
import { settleChecks } from './pending.js';
import { contiguousStrides, formatShape, isContiguous, numel, type Shape } from './shape.js';
import { Storage } from './storage.js';

/** What a tensor knows of the operation that made it; autograd defines the rest. */
export interface GradFn {
  readonly name: string;
  retain(): void;
  release(): void;
}

/** What `data()` resolves to, by dtype: bool as bytes, float16 widened. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;

let nextId = 1;

/**
 * An n-dimensional array on a device: a strided window (`shape`, `strides`, `offset`) onto shared storage. Views share
 * their storage. Operations are methods; they return at once and run in order, and only reading waits.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.mul(2).sum().item(); // 20
 */
export class Tensor implements View {
  readonly id = nextId++;
  /** The operation that made it, for messages. */
  readonly op: string;
  /** The recorded operation behind it, null for a leaf. */
  gradFn: GradFn | null;
  /** Which output of `gradFn` it is. */
  readonly outputIndex: number;
  /** The gradient that backward accumulated, on leaves that require one. */
  grad: Tensor | null = null;
  /** @internal The scope that will release it, null for none. */
  owner: Scope | null = null;
  private store: Storage | null;
  private wantsGrad = false;
  private type: DType;

  /** @internal Takes over one reference on `storage`. Use the factories. */
  constructor(
    storage: Storage,
    dtype: DType,
    readonly shape: Shape,
    readonly strides: readonly number[],
    readonly offset: number,
    op: string,
    gradFn: GradFn | null = null,
    outputIndex = 0,
  ) {
    this.store = storage;
    this.type = dtype;
    this.op = op;
    this.gradFn = gradFn;
    this.outputIndex = outputIndex;
    gradFn?.retain();
    adopt(this);
  }

  /** @internal A contiguous tensor on fresh memory, contents undefined. */
  static allocate(
    device: Device,
    dtype: DType,
    shape: Shape,
    op: string,
    gradFn: GradFn | null = null,
    index = 0,
  ): Tensor {
    const storage = new Storage(device, numel(shape) * ITEM_SIZE[dtype], op);
    return new Tensor(storage, dtype, shape, contiguousStrides(shape), 0, op, gradFn, index);
  }

  get dtype(): DType {
    return this.type;
  }

  /** The shared memory. @throws ReleasedTensorError after the tensor's release. */
  get storage(): Storage {
    if (this.store === null) {
      throw new ReleasedTensorError(
        `this tensor of shape ${formatShape(this.shape)}, made by '${this.op}', was released when its scope ended; ` +
          'return it from the scope or keep() it to use it longer',
      );
    }
    return this.store;
  }

  /** @internal */
  get buffer(): DeviceBuffer {
    return this.storage.buffer!;
  }

  get device(): Device {
    return this.storage.device;
  }

  get isReleased(): boolean {
    return this.store === null;
  }

  /** Number of dims. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get numel(): number {
    return numel(this.shape);
  }

  /** Size along a dim, which may be negative. */
  size(dim: number): number {
    const i = dim < 0 ? dim + this.shape.length : dim;
    if (!(i in this.shape))
      throw new ShapeError(`size: expected a dim of ${formatShape(this.shape)}, got ${dim}`);
    return this.shape[i];
  }

  get isContiguous(): boolean {
    return isContiguous(this.shape, this.strides);
  }

  /** No operation made it, as far as gradients are concerned. */
  get isLeaf(): boolean {
    return this.gradFn === null;
  }

  /** Whether backward computes a gradient for it. Only leaves can be set. */
  get requiresGrad(): boolean {
    return this.wantsGrad || this.gradFn !== null;
  }

  set requiresGrad(value: boolean) {
    if (value && !isFloat(this.dtype)) {
      throw new DTypeError(`requiresGrad: expected a floating-point tensor, got ${this.dtype}`);
    }
    if (!value && this.gradFn !== null) {
      throw new GradError(`requiresGrad: expected a leaf, got the output of '${this.op}'; use detach()`);
    }
    this.wantsGrad = value && this.gradFn === null;
  }

  /** Sets `requiresGrad` and returns the tensor. */
  requiresGrad_(value = true): this {
    this.requiresGrad = value;
    return this;
  }

  /** Reads the elements in row-major order, once all recorded work is done. bool comes as 0/1 bytes, float16 as float32. */
  data(): Promise<TensorData> {
    return capturing.current ? this.refuseRead() : this.read();
  }

  /** What reading gives in a capture. */
  private refuseRead(): Promise<never> {
    const refused = Promise.reject<never>(capturing.current!.refuse('read a tensor'));
    // Whether anybody awaits it or not, capture() throws it.
    refused.catch(() => {});
    return refused;
  }

  private async read(): Promise<TensorData> {
    const storage = this.storage;
    const bytes = ITEM_SIZE[this.dtype];
    // One read of the span that the view covers; the strides are walked on the host.
    let last = this.offset;
    for (let i = 0; i < this.shape.length; i++) last += (this.shape[i] - 1) * this.strides[i];
    if (this.numel === 0) {
      await settleChecks(storage.device);
      return decode(this.dtype, new ArrayBuffer(0), this.shape, this.strides, 0);
    }
    const from = Math.floor((this.offset * bytes) / 4) * 4;
    const to = Math.ceil(((last + 1) * bytes) / 4) * 4;
    const raw = await storage.device.read(storage.buffer!, from, to - from);
    await settleChecks(storage.device);
    return decode(this.dtype, raw, this.shape, this.strides, this.offset - from / bytes);
  }

  /** Reads the only element. @throws ShapeError where there is not exactly one. */
  item(): Promise<number> {
    if (this.numel !== 1) {
      const message = `item: expected a tensor of one element, got shape ${formatShape(this.shape)}`;
      return Promise.reject(new ShapeError(message));
    }
    if (capturing.current) return this.refuseRead();
    return this.read().then(([value]) => value);
  }

  /** Another handle on the same storage and graph; of a leaf, only on its values. @internal */
  alias(): Tensor {
    return new Tensor(
      this.storage.retain(),
      this.type,
      this.shape,
      this.strides,
      this.offset,
      this.op,
      this.gradFn,
      this.outputIndex,
    );
  }

  /** The same values without their history: shares storage, requires no gradient. */
  detach(): Tensor {
    return new Tensor(this.storage.retain(), this.type, this.shape, this.strides, this.offset, 'detach');
  }

  /** @internal Puts other values of the same shape in this tensor's place: how a module changes its dtype or device. */
  replaceStorage(other: Tensor): void {
    forget(this);
    this.store?.release();
    this.store = other.storage.retain();
    this.type = other.dtype;
    Object.assign(this as { -readonly [K in 'strides' | 'offset']: Tensor[K] }, {
      strides: other.strides,
      offset: other.offset,
    });
    adopt(this);
  }

  /** Gives the memory back now. Using the tensor afterwards throws ReleasedTensorError. Idempotent. */
  release(): void {
    const storage = this.store;
    if (storage === null) return;
    forget(this);
    this.store = null;
    storage.release();
    this.gradFn?.release();
    this.grad?.release();
    this.grad = null;
  }

  toString(): string {
    const state = this.isReleased ? ', released' : this.requiresGrad ? ', requiresGrad' : '';
    return `Tensor(shape=${formatShape(this.shape)}, dtype=${this.dtype}, op=${this.op}${state})`;
  }
}
