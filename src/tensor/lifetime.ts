/**
 * Who owns a tensor: a scope, or nobody, and then the garbage collector is the backstop.
 *
 * A scope gives every tensor made inside back to the pool at its end, except what it returns and what keep() names.
 */
import { untracked } from './capturing.js';
import type { Storage } from './storage.js';
import type { GradFn, Tensor } from './tensor.js';

interface Record_ {
  readonly op: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly where: string | undefined;
}

/** What the backstop releases when a tensor without a scope is collected. */
interface Held {
  readonly id: number;
  readonly storage: Storage;
  readonly gradFn: GradFn | null;
}

export class Scope {
  readonly tensors = new Set<Tensor>();
  constructor(readonly parent: Scope | null) {}
}

let current: Scope | null = null;
const live = new Map<number, Record_>();
let origins = false;

const backstop = new FinalizationRegistry<Held>((held) => {
  live.delete(held.id);
  held.storage.release();
  held.gradFn?.release();
});

/** @internal Every new tensor passes here. */
export function adopt(t: Tensor): void {
  live.set(t.id, { op: t.op, shape: t.shape, dtype: t.dtype, where: origins ? place() : undefined });
  own(t, current);
}

/** @internal Every released tensor passes here. */
export function forget(t: Tensor): void {
  live.delete(t.id);
  if (t.owner) {
    t.owner.tensors.delete(t);
    t.owner = null;
  } else backstop.unregister(t);
}

function own(t: Tensor, scope: Scope | null): void {
  t.owner = scope;
  if (scope) scope.tensors.add(t);
  else backstop.register(t, { id: t.id, storage: t.storage, gradFn: t.gradFn }, t);
}

/** Takes tensors out of their scopes: they live until release() or until the garbage collector finds them. */
export function keep<T extends Tensor>(t: T): T {
  if (t.owner) {
    t.owner.tensors.delete(t);
    own(t, null);
  }
  return t;
}

/** By its owner field: importing the class here would close a cycle of imports. */
function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'owner' in value && 'gradFn' in value;
}

/** Hands the tensors in a scope's result (arrays and plain objects are searched) to the enclosing scope. */
function handOver(value: unknown, from: Scope): void {
  if (isTensor(value)) {
    if (value.owner === from) {
      from.tensors.delete(value);
      own(value, from.parent);
    }
  } else if (Array.isArray(value)) for (const v of value) handOver(v, from);
  else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    for (const v of Object.values(value)) handOver(v, from);
  }
}

/**
 * Runs `fn` and gives every tensor made inside back to the pool, except those it returns (alone, in arrays or plain
 * objects), parameters, optimizer state and what keep() names. Scopes nest.
 *
 * @throws Error when `fn` is asynchronous: await outside, on what the scope returns.
 * @example
 * const loss = scope(() => model.forward(x).sub(y).square().mean());
 */
export function scope<R>(fn: () => R): R {
  const mine = new Scope(current);
  current = mine;
  try {
    const result = fn();
    if (typeof (result as { then?: unknown } | null)?.then === 'function') {
      throw new Error(
        'scope: expected a synchronous function, got one that returns a promise; await outside the scope',
      );
    }
    handOver(result, mine);
    return result;
  } finally {
    current = mine.parent;
    for (const t of mine.tensors) t.release();
  }
}

/** @internal Whether the innermost scope will release the tensor. */
export function isMine(t: Tensor): boolean {
  return current !== null && t.owner === current;
}

/** Runs `fn` outside every scope: what it makes is kept. A capture under way does not repeat it. */
export function unscoped<R>(fn: () => R): R {
  const saved = current;
  current = null;
  try {
    return untracked(fn);
  } finally {
    current = saved;
  }
}

/** @internal The first stack line outside the engine's own files. */
export function place(): string | undefined {
  const lines = new Error().stack?.split('\n').slice(2) ?? [];
  const outside = lines.find((l) => !/[/\\](src|dist)[/\\](tensor|autograd|kernels|nn|optim)[/\\]/.test(l));
  return (outside ?? lines.at(-1))?.trim().replace(/^at /, '');
}

/** What is alive, and who made it. */
export const memory = {
  /** Records the source line of every tensor made from now on (slow: a stack trace each). */
  trackOrigins(on = true): void {
    origins = on;
  },
  /** How many tensors are alive. */
  get liveTensors(): number {
    return live.size;
  },
  /** Live tensors grouped by operation, shape and place, most first. */
  report(): {
    op: string;
    shape: readonly number[];
    dtype: string;
    where: string | undefined;
    count: number;
  }[] {
    const groups = new Map<
      string,
      { op: string; shape: readonly number[]; dtype: string; where: string | undefined; count: number }
    >();
    for (const r of live.values()) {
      const key = `${r.op}|${r.shape}|${r.dtype}|${r.where}`;
      const group = groups.get(key);
      if (group) group.count++;
      else groups.set(key, { ...r, count: 1 });
    }
    return [...groups.values()].sort((a, b) => b.count - a.count);
  },
};
