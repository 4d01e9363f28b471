/** Where a Dataset's items come from, and the steps over streams. */
import { DataError } from '../device/errors.js';
import type { HostRandom } from './random.js';

/** A value, or a promise of it. */
export type Eventual<T> = T | Promise<T>;

type Items<T> = AsyncGenerator<T, void, undefined>;

/** What gives items one after the other; a function makes a new one for every epoch. */
export type StreamSource<T> =
  | Iterable<T>
  | AsyncIterable<T>
  | ((epoch: number) => Eventual<Iterable<T> | AsyncIterable<T> | Iterator<T> | AsyncIterator<T>>);

/** Items by number, of a known length; or one after the other. */
export type Source<T> =
  | { at(index: number, epoch: number): Eventual<T>; readonly open?: undefined }
  | { open(epoch: number): Items<T>; readonly at?: undefined };

/** What `Dataset.from` takes, with the length where it is known. */
export function sourceOf<T>(input: unknown): [length: number | undefined, source: Source<T>] {
  if (typeof input === 'function') {
    return [undefined, { open: (epoch) => fromFunction<T>(input as (epoch: number) => unknown, epoch) }];
  }
  if (Array.isArray(input) || (ArrayBuffer.isView(input) && 'length' in input)) {
    const items = input as unknown as ArrayLike<T>;
    return [items.length, { at: (i) => items[i] }];
  }
  const { length, get } = (Object(input) ?? {}) as { length?: unknown; get?: unknown };
  if (typeof get === 'function' && Number.isSafeInteger(length)) {
    const items = input as { get(index: number): Eventual<T> };
    return [length as number, { at: (i) => fetched(items, i) }];
  }
  if (isIterable(input)) return [undefined, fromIterable<T>(input as Iterable<T> | AsyncIterable<T>)];
  throw new DataError(
    `Dataset.from: expected an array, { length, get }, an iterable, or a function that gives one, got ${describe(input)}`,
  );
}

function fetched<T>(items: { get(index: number): Eventual<T> }, i: number): Eventual<T> {
  const failed = (cause: unknown): never => {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new DataError(`Dataset.from: get(${i}) failed: ${message}`, { cause });
  };
  try {
    const item = items.get(i);
    return item instanceof Promise ? item.catch(failed) : item;
  } catch (cause) {
    return failed(cause);
  }
}

function fromIterable<T>(input: Iterable<T> | AsyncIterable<T>): Source<T> {
  // Generators are their own iterators, and have nothing left the second time.
  const once = 'next' in Object(input);
  let used = false;
  return {
    async *open() {
      if (once && used) {
        throw new DataError(
          'Dataset: expected a source that can be gone through again, got an iterator that has been; pass a function that makes one to Dataset.from, or cache() the dataset',
        );
      }
      used = true;
      yield* input;
    },
  };
}

async function* fromFunction<T>(make: (epoch: number) => unknown, epoch: number): Items<T> {
  const made = await make(epoch);
  if (isIterable(made)) yield* made as AsyncIterable<T>;
  else if (typeof (made as AsyncIterator<T> | null)?.next === 'function') {
    yield* { [Symbol.asyncIterator]: () => made as AsyncIterator<T> } as AsyncIterable<T>;
  } else {
    throw new DataError(
      `Dataset.from: expected the function to give an iterable or an iterator, got ${describe(made)}`,
    );
  }
}

function isIterable(value: unknown): boolean {
  const object = Object(value ?? {}) as Partial<Iterable<unknown> & AsyncIterable<unknown>>;
  return typeof object[Symbol.iterator] === 'function' || typeof object[Symbol.asyncIterator] === 'function';
}

function describe(value: unknown): string {
  return value === null
    ? 'null'
    : typeof value === 'object'
      ? value.constructor?.name || 'an object'
      : typeof value;
}

/** The items of an epoch from `first` on. */
export async function* walk<T>(
  source: Source<T>,
  length: number | undefined,
  epoch: number,
  first: number,
): Items<T> {
  if (source.at) for (let i = first; i < length!; i++) yield await source.at(i, epoch);
  else yield* skipped(source.open(epoch), first);
}

/** `fn` of a value, at once where nothing needs waiting for. */
export function apply<T, U>(value: Eventual<T>, fn: (value: T) => Eventual<U>): Eventual<U> {
  return value instanceof Promise ? value.then(fn) : fn(value);
}

export async function* skipped<T>(items: Items<T>, count: number): Items<T> {
  let i = 0;
  for await (const item of items) if (i++ >= count) yield item;
}

export async function* taken<T>(open: () => Items<T>, count: number): Items<T> {
  if (count === 0) return;
  let i = 0;
  for await (const item of open()) {
    yield item;
    // Not one item further than needed: it may be dear.
    if (++i === count) return;
  }
}

export async function* filtered<T>(
  items: Items<T>,
  test: (item: T, i: number) => Eventual<boolean>,
): Items<T> {
  let i = 0;
  for await (const item of items) if (await test(item, i++)) yield item;
}

export async function* stacked<T, B>(
  items: Items<T>,
  size: number,
  dropLast: boolean,
  make: (items: T[], index: number) => Eventual<B>,
): Items<B> {
  let batch: T[] = [];
  let i = 0;
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield await make(batch, i++);
    batch = [];
  }
  if (batch.length > 0 && !dropLast) yield await make(batch, i);
}

/** Draws from the `window` items read last that were not drawn yet; at the end from all that are left. */
export async function* shuffled<T>(items: Items<T>, window: number, random: HostRandom): Items<T> {
  const held: T[] = [];
  const draw = (): T => {
    const i = random.integer(held.length);
    const item = held[i];
    const last = held.pop()!;
    if (i < held.length) held[i] = last;
    return item;
  };
  for await (const item of items) {
    held.push(item);
    if (held.length >= window) yield draw();
  }
  while (held.length > 0) yield draw();
}

/** Ends with the shortest, and closes all of them however it ends. */
export async function* zipped(all: readonly Items<unknown>[]): Items<unknown[]> {
  try {
    for (;;) {
      const row: unknown[] = [];
      for (const items of all) {
        const { done, value } = await items.next();
        if (done) return;
        row.push(value);
      }
      yield row;
    }
  } finally {
    await Promise.all(all.map((items) => items.return()));
  }
}

/** Keeps the items of a pass that went to the end. */
export function remembered<T>(open: () => Items<T>): () => Items<T> {
  let kept: T[] | undefined;
  return async function* () {
    if (kept) {
      yield* kept;
      return;
    }
    const items: T[] = [];
    for await (const item of open()) {
      items.push(item);
      yield item;
    }
    kept ??= items;
  };
}
