import type { Device } from '../device/types.js';
import { capturing } from './capturing.js';
import { fromHost } from './factories.js';
import { unscoped } from './lifetime.js';
import type { Tensor } from './tensor.js';

/**
 * The state behind every random operation: a 64-bit seed and a counter. Philox 4×32-10 turns (seed, counter + i) into
 * the i-th group of four random words, the same on every device, so that a mask can be made again in recomputation.
 *
 * @source Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
 */
export interface RandomState {
  readonly seed: number;
  readonly counter: number;
}

/** What an operation draws from: a state on its device, and the first block of numbers behind the state's counter. */
export interface Draw {
  /** uint32 [4]: seed and counter, the low word of each first. */
  readonly state: Tensor;
  readonly block: number;
}

export class Generator {
  private seed = 0;
  private counter = 0;
  /** Seed and counter 0 on each device. */
  private states = new WeakMap<Device, Tensor>();
  /** The state that operations of the capture under way draw from, and the counter that it holds. */
  private captured: { readonly state: Tensor; readonly start: number } | null = null;

  constructor(seed = 0) {
    this.manualSeed(seed);
  }

  /** Sets the seed (an integer in [0, 2⁵³)) and starts the counter again. */
  manualSeed(seed: number): this {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(`manualSeed: expected an integer in [0, 2^53), got ${seed}`);
    }
    if (capturing.current) throw capturing.current.refuse('seeded a generator');
    // Tensors already drawn from keep the old state: backward makes their masks again from it.
    if (seed !== this.seed) this.states = new WeakMap();
    this.seed = seed;
    this.counter = 0;
    return this;
  }

  /** The state for an operation that draws `count` words; moves the counter past them. */
  draw(count: number): RandomState {
    const state = { seed: this.seed, counter: this.counter };
    this.counter += Math.ceil(count / 4);
    return state;
  }

  /** `draw` for an operation on a device. In a capture the state is one that every replay moves on. */
  drawOn(device: Device, count: number): Draw {
    const capture = capturing.current;
    if (capture && !this.captured) this.beginCapture(device);
    const { counter } = this.draw(count);
    if (this.captured) return { state: this.captured.state, block: counter - this.captured.start };
    let state = this.states.get(device);
    if (!state) this.states.set(device, (state = stateTensor(device, this.seed, 0)));
    return { state, block: counter };
  }

  private beginCapture(device: Device): void {
    const capture = capturing.current!;
    const start = this.counter;
    const state = stateTensor(device, this.seed, start);
    let drawn = 0;
    this.captured = { state, start };
    capture.atEnd(() => {
      drawn = this.counter - start;
      this.captured = null;
    });
    capture.beforeReplay(() => {
      device.write(state.buffer, stateWords(this.seed, this.counter));
      this.counter += drawn;
    });
  }

  getState(): RandomState {
    return { seed: this.seed, counter: this.counter };
  }

  setState(state: RandomState): void {
    if (state.seed !== this.seed) this.states = new WeakMap();
    this.seed = state.seed;
    this.counter = state.counter;
  }
}

function stateWords(seed: number, counter: number): Uint32Array {
  return Uint32Array.of(seed >>> 0, Math.floor(seed / 2 ** 32), counter >>> 0, Math.floor(counter / 2 ** 32));
}

function stateTensor(device: Device, seed: number, counter: number): Tensor {
  const options = { dtype: 'uint32', device } as const;
  return unscoped(() => fromHost(stateWords(seed, counter), [4], options, 'randomState'));
}

/** The generator that operations use unless given another. */
export const defaultGenerator = new Generator(0);

/** Seeds the default generator: the same seed gives the same numbers on every device. */
export function manualSeed(seed: number): void {
  defaultGenerator.manualSeed(seed);
}

/** One block of Philox 4×32-10: four 32-bit words from a counter and a seed (both below 2⁵³). `out` receives them. */
export function philox(counter: number, seed: number, out: Uint32Array): void {
  philoxBlock(
    counter >>> 0,
    Math.floor(counter / 2 ** 32),
    0,
    0,
    seed >>> 0,
    Math.floor(seed / 2 ** 32) >>> 0,
    out,
  );
}

/** Philox 4×32-10 of a counter of four words and a key of two, as the paper has it. */
export function philoxBlock(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
): void {
  for (let round = 0; round < 10; round++) {
    const hi0 = mulHigh(0xd2511f53, c0);
    const lo0 = Math.imul(0xd2511f53, c0);
    const hi1 = mulHigh(0xcd9e8d57, c2);
    const lo1 = Math.imul(0xcd9e8d57, c2);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The upper 32 bits of the 64-bit product of two unsigned words. */
export function mulHigh(a: number, b: number): number {
  // Schoolbook in 16-bit halves: nothing leaves 32-bit integer registers.
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const upper = Math.imul(a1, b0);
  const lower = Math.imul(a0, b1);
  const carry = (Math.imul(a0, b0) >>> 16) + (upper & 0xffff) + (lower & 0xffff);
  return (Math.imul(a1, b1) + (upper >>> 16) + (lower >>> 16) + (carry >>> 16)) >>> 0;
}
