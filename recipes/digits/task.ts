/** Strings of digits, what is to be made of them, and which of them are never trained on. */
import { hashText } from '../../src/data/text-hash.js';
import { DataError, data, type Device, type Tensor, tensor, type train } from '../../src/index.js';

/** What to write after reading a string. */
export const TASKS = {
  copy: (digits: string) => digits,
  reverse: (digits: string) => [...digits].reverse().join(''),
  sort: (digits: string) => [...digits].sort().join(''),
} as const;
export type Task = keyof typeof TASKS;

/** Three tokens that are no digits; digit d is token d + 3. */
export const PAD = 0;
export const START = 1;
export const END = 2;
export const VOCAB = 13;

/** One string in so many is held out. */
const HELD_OUT_SHARE = 10;

/** Whether a string is kept from training: by its hash, so it is the same one in every run, whatever the seed. */
export function isHeldOut(digits: string): boolean {
  return hashText(digits) % HELD_OUT_SHARE === 0;
}

/** Lengths of strings, both included. */
export interface Lengths {
  readonly minLength: number;
  readonly maxLength: number;
}

/** A random string, each length as likely as any other. */
function draw(random: data.HostRandom, { minLength, maxLength }: Lengths): string {
  const length = minLength + random.integer(maxLength - minLength + 1);
  return Array.from({ length }, () => random.integer(10)).join('');
}

/** Strings as token ids: sources [B, S], and targets [B, S + 2] from start to end; both filled up with padding. */
export interface DigitBatch {
  readonly source: Int32Array;
  readonly target: Int32Array;
  readonly count: number;
  readonly length: number;
}

/** @param length S: room for the longest string */
export function toBatch(task: Task, strings: readonly string[], length: number): DigitBatch {
  const source = new Int32Array(strings.length * length).fill(PAD);
  const target = new Int32Array(strings.length * (length + 2)).fill(PAD);
  strings.forEach((digits, b) => {
    source.set(encode(digits), b * length);
    target.set([START, ...encode(TASKS[task](digits)), END], b * (length + 2));
  });
  return { source, target, count: strings.length, length };
}

export function toTensors({ source, target, count, length }: DigitBatch, device: Device): [Tensor, Tensor] {
  return [
    tensor(source, { shape: [count, length], device }),
    tensor(target, { shape: [count, length + 2], device }),
  ];
}

function encode(digits: string): number[] {
  return [...digits].map((d) => Number(d) + 3);
}

export function decode(ids: ArrayLike<number>): string {
  return Array.from(ids, (id) => (id >= 3 ? String(id - 3) : '?')).join('');
}

/** Random strings that are not held out, without end. A batch depends on the seed and its number alone. */
export class DigitBatches implements train.BatchSource<DigitBatch> {
  private count = 0;

  constructor(
    private readonly task: Task,
    private readonly lengths: Lengths,
    private readonly batchSize: number,
    private readonly seed: number,
  ) {}

  next(): DigitBatch {
    const random = new data.HostRandom(this.seed * 2 ** 20 + this.count++);
    const strings: string[] = [];
    while (strings.length < this.batchSize) {
      const digits = draw(random, this.lengths);
      if (!isHeldOut(digits)) strings.push(digits);
    }
    return toBatch(this.task, strings, this.lengths.maxLength);
  }

  state(): unknown {
    return this.count;
  }

  load(state: unknown): void {
    if (!Number.isSafeInteger(state)) {
      throw new DataError(`DigitBatches: expected a batch count as state, got ${JSON.stringify(state)}`);
    }
    this.count = state as number;
  }
}

/** Up to `count` different strings that are held out: fewer where short strings do not give as many. */
export function heldOutStrings(count: number, lengths: Lengths, seed: number): string[] {
  const random = new data.HostRandom(seed * 2 ** 20 + 2 ** 19);
  const found = new Set<string>();
  // Half of the lengths have long run out of new strings by then.
  for (let tries = 0; found.size < count && tries < 100 * HELD_OUT_SHARE * count; tries++) {
    const digits = draw(random, lengths);
    if (isHeldOut(digits)) found.add(digits);
  }
  return [...found];
}
