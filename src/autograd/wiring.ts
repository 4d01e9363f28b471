/** Which inputs each output of a sparse layer looks at. */
import { DataError, ShapeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { fromHost } from '../tensor/factories.js';
import { unscoped } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';

/** A wiring on a device; int32. */
export interface WireTensors {
  /** `[outputs + 1]`: the wires of output o are starts[o] … starts[o + 1] − 1. */
  readonly starts: Tensor;
  /** [wires] */
  readonly sources: Tensor;
  /** [wires] */
  readonly targets: Tensor;
  /** The same wires ordered by source and then by target: where each begins, ends, and its number. */
  readonly backward: { readonly starts: Tensor; readonly targets: Tensor; readonly wires: Tensor };
}

/**
 * Fixed wires from inputs to outputs, in compressed rows: ordered by target and then by source, whatever order they are
 * given in. The gradient runs along the same wires ordered by source. Both orders are made once, and copied to a device
 * at their first use there.
 *
 * @source the CSR layout of torch.sparse_csr_tensor
 * @example
 * new Wiring(3, 2, [0, 2, 1], [0, 0, 1]); // y₀ sees x₀ and x₂, y₁ sees x₁
 */
export class Wiring {
  /** Where each wire begins, in [0, inputs). */
  readonly sources: Int32Array;
  /** Where each wire ends, in [0, outputs); ascending. */
  readonly targets: Int32Array;
  /** Eight hexadecimal digits that differ between different wirings. */
  readonly fingerprint: string;
  private readonly copies = new Map<Device, WireTensors>();

  /**
   * @param sources where each wire begins
   * @param targets where each wire ends, in the same order
   * @throws ShapeError for lists of different length or an end out of range; DataError for a wire that comes twice.
   */
  constructor(
    readonly inputs: number,
    readonly outputs: number,
    sources: ArrayLike<number>,
    targets: ArrayLike<number>,
  ) {
    if (sources.length !== targets.length) {
      throw new ShapeError(
        `Wiring: expected as many targets as sources, got ${targets.length} and ${sources.length}`,
      );
    }
    checkRange('sources', inputs, sources);
    checkRange('targets', outputs, targets);
    const bySource = order(sources, inputs);
    const byTarget = order(pick(targets, bySource), outputs);
    const sorted = pick(bySource, byTarget);
    this.sources = pick(sources, sorted);
    this.targets = pick(targets, sorted);
    for (let i = 1; i < this.length; i++) {
      if (this.sources[i] === this.sources[i - 1] && this.targets[i] === this.targets[i - 1]) {
        throw new DataError(
          `Wiring: expected each wire once, got ${this.sources[i]} → ${this.targets[i]} twice`,
        );
      }
    }
    this.fingerprint = digest([Int32Array.of(inputs, outputs), this.sources, this.targets]);
  }

  /** How many wires there are. */
  get length(): number {
    return this.sources.length;
  }

  /** The wires as int32 tensors on a device. */
  on(device: Device): WireTensors {
    let copy = this.copies.get(device);
    if (!copy || copy.starts.isReleased) this.copies.set(device, (copy = this.upload(device)));
    return copy;
  }

  /** Gives the tensors back; the next use makes them again. */
  release(): void {
    for (const { starts, sources, targets, backward } of this.copies.values()) {
      for (const t of [starts, sources, targets, backward.starts, backward.targets, backward.wires])
        t.release();
    }
    this.copies.clear();
  }

  private upload(device: Device): WireTensors {
    const put = (values: Int32Array): Tensor =>
      unscoped(() => fromHost(values, [values.length], { dtype: 'int32', device }, 'wiring'));
    const wires = order(this.sources, this.inputs);
    return {
      starts: put(startsOf(this.targets, this.outputs)),
      sources: put(this.sources),
      targets: put(this.targets),
      backward: {
        starts: put(startsOf(this.sources, this.inputs)),
        targets: put(pick(this.targets, wires)),
        wires: put(wires),
      },
    };
  }
}

function checkRange(what: string, size: number, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isInteger(value) && value >= 0 && value < size) continue;
    throw new ShapeError(`Wiring: expected ${what} in [0, ${size}), got ${value} at wire ${i}`);
  }
}

/** [size + 1]: where the wires of each end begin in a list ordered by that end. */
function startsOf(ends: ArrayLike<number>, size: number): Int32Array {
  const starts = new Int32Array(size + 1);
  for (let i = 0; i < ends.length; i++) starts[ends[i] + 1]++;
  for (let i = 0; i < size; i++) starts[i + 1] += starts[i];
  return starts;
}

/** The places of a list in ascending order of its values; those of equal ones keep their order. */
function order(values: ArrayLike<number>, size: number): Int32Array {
  const next = startsOf(values, size);
  const places = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) places[next[values[i]]++] = i;
  return places;
}

function pick(values: ArrayLike<number>, places: Int32Array): Int32Array {
  return Int32Array.from(places, (at) => values[at]);
}

/** @source FNV-1a, Fowler, Noll and Vo: http://www.isthe.com/chongo/tech/comp/fnv/ */
function digest(parts: readonly Int32Array[]): string {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    for (const word of part) {
      for (let shift = 0; shift < 32; shift += 8)
        hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193);
    }
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
