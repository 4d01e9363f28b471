/** The WebAssembly module of the CPU device, on the device's memory and its threads. */
import type { SimdModule } from '../types.js';
import { nodeModule } from './thread-count.js';
import { Threads } from './threads.js';
import { SPLITS, type Split } from './threads-table.js';
import { MOST_ARGUMENTS } from './threads-worker.js';
import { builds } from './wasm/generated.js';

/** A compiled build of the module. */
interface Build {
  readonly module: WebAssembly.Module;
  readonly features: readonly string[];
}

type Call = (...args: number[]) => unknown;

const compiledBuilds = new Map<boolean, Build>();

/** A build's bytes; with the flag of its memory's import cleared where that is not shared. */
function decode({ base64, sharedFlag }: { base64: string; sharedFlag: number }, shared: boolean) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  if (!shared) bytes[sharedFlag] = 1;
  return bytes;
}

/**
 * The build for ordinary or for shared memory, with fused multiply-add (relaxed SIMD) where the engine takes it: browsers
 * and Node.js ≥ 22 do as they are. Node.js 20 has it behind a switch of V8 that can be turned on at any time before the
 * module is compiled.
 */
function compiled(shared: boolean): Build {
  const known = compiledBuilds.get(shared);
  if (known) return known;
  const relaxed = decode(builds.relaxed, shared);
  if (!WebAssembly.validate(relaxed)) {
    nodeModule<{ setFlagsFromString(flags: string): void }>('node:v8')?.setFlagsFromString(
      '--experimental-wasm-relaxed-simd',
    );
  }
  const build = WebAssembly.validate(relaxed)
    ? { module: new WebAssembly.Module(relaxed), features: ['simd128', 'relaxed-simd'] }
    : { module: new WebAssembly.Module(decode(builds.plain, shared)), features: ['simd128'] };
  compiledBuilds.set(shared, build);
  return build;
}

/** WebAssembly features that the module uses here. */
export function simdFeatures(shared: boolean): readonly string[] {
  return compiled(shared).features;
}

/** A row of the table, with parameters by number. */
interface Plan {
  readonly index: number;
  readonly own: number;
  readonly of: readonly number[];
  readonly dims: readonly Dim[];
  /** Parameters that callers do not pass: the value of another one, or a number. */
  readonly defaults: readonly { readonly argument: number; readonly from: number; readonly value: number }[];
  readonly split: Split;
}

interface Dim {
  readonly count: number;
  readonly align: number;
  /** Argument += start · factor · (that argument, or 1). */
  readonly moves: readonly { readonly argument: number; readonly times: number; readonly factor: number }[];
}

function plan(name: string, index: number, split: Split): Plan {
  const names = split.args.split(' ').map((word) => word.split('=')[0]);
  const find = (parameter: string): number => {
    const at = names.indexOf(parameter);
    if (at < 0) throw new Error(`threads-table: ${name} has no parameter '${parameter}'`);
    return at;
  };
  if (names.length > MOST_ARGUMENTS)
    throw new Error(`threads-table: ${name} has more than ${MOST_ARGUMENTS} parameters`);
  const defaults = split.args.split(' ').flatMap((word, argument) => {
    const other = word.split('=')[1];
    if (other === undefined) return [];
    const value = Number(other);
    return [{ argument, from: Number.isNaN(value) ? find(other) : -1, value }];
  });
  const dims = Object.entries(split.over).map(([count, moves], d) => ({
    count: find(count),
    align: split.align?.[d] ?? 1,
    moves: Object.entries(moves).map(([argument, by]) => ({
      argument: find(argument),
      times: typeof by === 'string' && by !== 'start' ? find(by) : -1,
      factor: by === 'start' ? 1 : typeof by === 'number' ? 4 * by : 4,
    })),
  }));
  return {
    index,
    own: split.scratch ? find(split.scratch) : -1,
    of: split.of.split(' ').map(find),
    dims,
    defaults,
    split,
  };
}

/** Cuts calls into independent parts, and runs them on the threads. */
class Cutter {
  /** How deep `together` is. */
  depth = 0;
  /** Bytes per thread of the running program's `threadScratch`, by address. */
  readonly steps = new Map<number, number>();
  private work = 0;

  constructor(readonly threads: Threads) {}

  /** A call of an export in one piece or in parts. */
  call(plan: Plan, whole: Call, args: number[]): unknown {
    for (const { argument, from, value } of plan.defaults) args[argument] = from < 0 ? value : args[from];
    let work = plan.split.ns;
    for (const i of plan.of) work *= args[i];
    const step = plan.own < 0 ? 0 : this.steps.get(args[plan.own]);
    if (step === undefined) return whole(...args);
    const { threads } = this;
    if (plan.split.combine) {
      if (this.depth > 0) threads.run();
      return this.combined(plan, whole, args, work);
    }
    if (this.depth > 0) {
      this.work += work;
      if (!threads.started) return whole(...args);
      if (work < TOGETHER_WHOLE && threads.worth > 0) threads.add(plan.index, args, plan.own, step);
      else this.cut(plan, args, work, step);
      return undefined;
    }
    if (!threads.isWorth(work)) return whole(...args);
    this.cut(plan, args, work, step);
    threads.run();
    return undefined;
  }

  /** Runs `calls`, whose calls of the module may then run in any order, as one job. */
  together(calls: () => void): void {
    this.depth++;
    try {
      calls();
    } catch (error) {
      this.threads.clear();
      this.work = 0;
      throw error;
    } finally {
      this.depth--;
    }
    if (this.depth > 0) return;
    const { work } = this;
    this.work = 0;
    this.threads.run(this.threads.isWorth(work));
  }

  private combined(plan: Plan, whole: Call, args: number[], work: number): unknown {
    const { split, dims } = plan;
    const { threads } = this;
    const parallel = threads.isWorth(work);
    const units = args[dims[0].count];
    if (split.combine === 'all') {
      if (!parallel) return whole(...args);
      const size = Math.ceil(units / threads.parts(work));
      const calls = Math.ceil(units / size);
      this.cutDim(plan, args, 0, size, 0);
      threads.run();
      for (let call = 0; call < calls; call++) if (!threads.result(call)) return false;
      return true;
    }
    const part = Math.max(split.part!, Math.ceil(units / MOST_PARTS / 16) * 16);
    if (units <= part) return whole(...args);
    const calls = Math.ceil(units / part);
    this.cutDim(plan, args, 0, part, 0);
    threads.run(parallel);
    let sum = 0;
    for (let call = 0; call < calls; call++) sum += threads.result(call);
    return sum;
  }

  /** Adds the parts of a call to the list. */
  private cut(plan: Plan, args: number[], work: number, step: number): void {
    const { dims, split } = plan;
    const parts = this.threads.parts(work);
    const units = args[dims[0].count];
    if (parts === 1) this.threads.add(plan.index, args, plan.own, step);
    else if (split.grid) this.cutGrid(plan, args, parts, step);
    else if (dims.length === 1 || units >= 2 * this.threads.count) {
      this.cutDim(plan, args, 0, partSize(units, parts, dims[0].align), step);
    } else {
      // Few rows: one after the other, each cut along its columns.
      const columns = args[dims[1].count];
      const size = partSize(columns, Math.ceil(parts / units), dims[1].align);
      for (let unit = 0; unit < units; unit++) {
        const row = [...args];
        move(dims[0], args, row, unit, 1);
        this.cutDim(plan, row, 1, size, step);
      }
    }
  }

  private cutDim(plan: Plan, args: readonly number[], dim: number, size: number, step: number): void {
    const d = plan.dims[dim];
    const units = args[d.count];
    const part = [...args];
    for (let start = 0; start < units; start += size) {
      move(d, args, part, start, Math.min(size, units - start));
      this.threads.add(plan.index, part, plan.own, step);
    }
  }

  /** Rectangles with as little border as possible: each packs its rows and its columns for itself. */
  private cutGrid(plan: Plan, args: readonly number[], parts: number, step: number): void {
    const [r, c] = plan.dims;
    const rows = args[r.count];
    const columns = args[c.count];
    let [best, bestBorder] = [1, Number.POSITIVE_INFINITY];
    for (let across = 1; across <= parts; across++) {
      if (parts % across !== 0) continue;
      const [height, width] = [partSize(rows, parts / across, r.align), partSize(columns, across, c.align)];
      const calls = Math.ceil(rows / height) * Math.ceil(columns / width);
      // Too few parts leave threads idle, which is worse than any packing.
      const border = rows * Math.ceil(columns / width) + columns * Math.ceil(rows / height);
      const cost = border * (calls < parts ? 1 + (parts - calls) : 1);
      if (cost < bestBorder) [best, bestBorder] = [across, cost];
    }
    const height = partSize(rows, parts / best, r.align);
    const width = partSize(columns, best, c.align);
    const band = [...args];
    for (let start = 0; start < rows; start += height) {
      move(r, args, band, start, Math.min(height, rows - start));
      this.cutDim(plan, band, 1, width, step);
    }
  }
}

/** Calls of less work, in ns, stay whole where there are several. */
const TOGETHER_WHOLE = 50_000;
/** Most parts of a sum. */
const MOST_PARTS = 256;

function partSize(units: number, parts: number, align: number): number {
  return Math.ceil(units / parts / align) * align;
}

/** Sets the arguments of the part that begins at unit `start`. */
function move(dim: Dim, args: readonly number[], part: number[], start: number, length: number): void {
  part[dim.count] = length;
  for (const { argument, times, factor } of dim.moves) {
    const from = args[argument];
    const isAbsent = factor !== 1 && from === 0;
    if (!isAbsent) part[argument] = from + start * factor * (times < 0 ? 1 : args[times]);
  }
}

/** The module's functions, and what the device needs of it. */
export interface Simd {
  readonly module: SimdModule;
  /** The threads, where there is more than one. */
  readonly threads: Threads;
  /** Forgets the running program's scratch. */
  endProgram(): void;
}

/**
 * Instantiates the module. Its exports are the kernels: to add one, export it from `wasm/assembly/index.ts`, declare it
 * in `SimdModule`, and say in `threads-table.ts` how it is cut.
 *
 * @param scratch hands out memory that stays valid until the running program is done
 */
export function instantiateSimd(
  memory: WebAssembly.Memory,
  count: number,
  scratch: (bytes: number) => number,
): Simd {
  const { module } = compiled(count > 1);
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const threads = new Threads(count, module, memory, exports);
  const cutter = new Cutter(threads);
  const calls: Record<string, Call> = {};
  Object.keys(exports).forEach((name, index) => {
    const whole = exports[name] as Call;
    const split = SPLITS[name];
    if (!split) {
      calls[name] = whole;
      return;
    }
    const planned = plan(name, index, split);
    const isPlain = count === 1 && planned.defaults.length === 0 && split.combine !== 'sum';
    calls[name] = isPlain ? whole : (...args) => cutter.call(planned, whole, args);
  });
  const raw = calls as unknown as SimdModule & Raw;
  return {
    module: {
      ...raw,
      threads: count,
      // WebAssembly returns sizes as signed numbers.
      scratch: (bytes) => scratch(bytes >>> 0),
      threadScratch(bytes) {
        const step = Math.ceil((bytes >>> 0) / 64) * 64;
        const pointer = scratch(step * count);
        cutter.steps.set(pointer, step);
        return pointer;
      },
      together: (run) => cutter.together(run),
      sumRows(rows, columns, x, xRow, xCol, y) {
        if (rows > FEW || xCol !== 1 || columns < LONG) return raw.sumRows(rows, columns, x, xRow, xCol, y);
        for (let i = 0; i < rows; i++) raw.storeF32(y + 4 * i, raw.sumPart(columns, x + 4 * i * xRow));
      },
      layerNormBackward(rows, columns, x, weight, mean, rstd, g, dx, dWeight, dBias) {
        if (dx) raw.layerNormBackwardInput(rows, columns, x, weight, mean, rstd, g, dx);
        if (dWeight || dBias) {
          raw.layerNormBackwardParameters(rows, columns, columns, x, mean, rstd, g, dWeight, dBias);
        }
      },
    },
    threads,
    endProgram: () => cutter.steps.clear(),
  };
}

/** Sums of up to so many rows of at least so many elements are cut along the rows. */
const FEW = 8;
const LONG = 131072;

/** Exports that only this file calls. */
interface Raw {
  storeF32(at: number, value: number): void;
  sumPart(count: number, x: number): number;
  layerNormBackwardInput(...args: number[]): void;
  layerNormBackwardParameters(...args: number[]): void;
}
