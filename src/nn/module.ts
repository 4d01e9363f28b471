/** The base of layers and models: finds parameters, buffers and submodules, saves and loads them. */
import { executeInPlace } from '../autograd/op.js';
import { type DType, isFloat } from '../device/dtype.js';
import { DataError, DeviceError, DTypeError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { capturing } from '../tensor/capturing.js';
import { fromHost } from '../tensor/factories.js';
import { keep, unscoped } from '../tensor/lifetime.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { Parameter } from './parameter.js';

/** Names of a state and its values, in PyTorch's order. */
export type StateDict = Map<string, Tensor>;

/** A module of one tensor in, one tensor out. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/** What loading found not to match; both empty when `strict`. */
export interface LoadReport {
  readonly missing: string[];
  readonly unexpected: string[];
}

/**
 * The base class of layers and models.
 *
 * Registration is plain assignment: own properties that hold a Parameter or a Module belong to the module under the
 * property's name, in the order in which the properties were first set; null and undefined are skipped. Lists of
 * modules go into a ModuleList or ModuleDict (a plain array of modules is an error, because its parameters would
 * silently not train); other tensors that belong to the state go through `registerBuffer`.
 *
 * A subclass defines `forward(...)` and callers call `module.forward(x)`.
 *
 * @source torch.nn.Module
 * @example
 * class Net extends Module {
 *   hidden = new Linear(4, 8);
 *   out = new Linear(8, 2);
 *   forward(x: Tensor) {
 *     return this.out.forward(this.hidden.forward(x).relu());
 *   }
 * }
 */
export class Module {
  /** Whether layers that behave differently in training (dropout) do so. Set with train() and eval(). */
  training = true;
  /** Buffer names, and whether they are saved. */
  readonly #buffers = new Map<string, boolean>();

  /**
   * Adds a tensor that belongs to the module's state without being trained, as the property `name`.
   *
   * @param options `persistent`: part of stateDict(), default true
   */
  protected registerBuffer(
    name: string,
    t: Tensor,
    { persistent = true }: { persistent?: boolean } = {},
  ): void {
    if (name in this && !this.#buffers.has(name)) {
      throw new Error(
        `registerBuffer: expected a free name, got '${name}', which ${this.constructor.name} has`,
      );
    }
    this.#buffers.set(name, persistent);
    Object.defineProperty(this, name, {
      value: keep(t),
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }

  /** Adds a parameter under a name that is computed, as the property `name`. Equal to assigning the property. */
  protected registerParameter(name: string, parameter: Parameter | null): void {
    Object.defineProperty(this, name, {
      value: parameter,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }

  /** Own parameters, buffers (with their persistence) and submodules. */
  #members(): {
    parameters: [string, Parameter][];
    buffers: [string, Tensor, boolean][];
    modules: [string, Module][];
  } {
    const parameters: [string, Parameter][] = [];
    const buffers: [string, Tensor, boolean][] = [];
    const modules: [string, Module][] = [];
    for (const [name, value] of Object.entries(this)) {
      if (value === null || typeof value !== 'object') continue;
      if (this.#buffers.has(name)) buffers.push([name, value as Tensor, this.#buffers.get(name)!]);
      else if (value instanceof Parameter) parameters.push([name, value]);
      else if (value instanceof Module) modules.push([name, value]);
      else if (Array.isArray(value) && value.some((v) => v instanceof Module || v instanceof Parameter)) {
        throw new Error(
          `${this.constructor.name}: expected '${name}' to be a ModuleList, got an array, whose parameters would not train; wrap it in new ModuleList([...])`,
        );
      }
    }
    return { parameters, buffers, modules };
  }

  /** This module and every module inside with their names, each once. */
  namedModules(prefix = ''): [string, Module][] {
    const out: [string, Module][] = [];
    const seen = new Set<Module>();
    const visit = (module: Module, name: string): void => {
      if (seen.has(module)) return;
      seen.add(module);
      out.push([name, module]);
      for (const [child, m] of module.#members().modules) visit(m, join(name, child));
    };
    visit(this, prefix);
    return out;
  }

  /** This module and every module inside, each once. */
  modules(): Module[] {
    return this.namedModules().map(([, m]) => m);
  }

  /** The modules directly inside with their names. */
  namedChildren(): [string, Module][] {
    return this.#members().modules;
  }

  /** The modules directly inside. */
  children(): Module[] {
    return this.#members().modules.map(([, m]) => m);
  }

  /** All parameters with their names, a shared one once, under its first name. */
  namedParameters(prefix = ''): [string, Parameter][] {
    const seen = new Map<Parameter, string>();
    for (const [name, module] of this.namedModules(prefix)) {
      for (const [own, p] of module.#members().parameters) if (!seen.has(p)) seen.set(p, join(name, own));
    }
    return [...seen].map(([p, name]) => [name, p]);
  }

  /** All parameters, a shared one once: what an optimizer takes. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /** All buffers with their names, a shared one once. */
  namedBuffers(prefix = ''): [string, Tensor][] {
    const seen = new Map<Tensor, string>();
    for (const [name, module] of this.namedModules(prefix)) {
      for (const [own, t] of module.#members().buffers) if (!seen.has(t)) seen.set(t, join(name, own));
    }
    return [...seen].map(([t, name]) => [name, t]);
  }

  /** All buffers, a shared one once. */
  buffers(): Tensor[] {
    return this.namedBuffers().map(([, t]) => t);
  }

  /** Number of elements of all parameters, shared ones counted once. */
  numParameters({ trainable = false }: { trainable?: boolean } = {}): number {
    return this.parameters().reduce((n, p) => (trainable && !p.requiresGrad ? n : n + p.numel), 0);
  }

  /** Sets `training` here and in every module inside. */
  train(on = true): this {
    return this.apply((m) => {
      m.training = on;
    });
  }

  /** The same as train(false). */
  eval(): this {
    return this.train(false);
  }

  /** Calls `fn` with every module inside, innermost first, and with this one. */
  apply(fn: (module: Module) => void): this {
    for (const m of this.modules().reverse()) fn(m);
    return this;
  }

  /** Gives the gradients of all parameters back; they are null until the next backward. */
  zeroGrad(): void {
    for (const p of this.parameters()) clearGrad(p);
  }

  /** Sets `requiresGrad` of all parameters: false freezes the module. */
  requiresGrad_(on = true): this {
    for (const p of this.parameters()) p.requiresGrad = on;
    return this;
  }

  /**
   * Parameters and persistent buffers by name, in PyTorch's order: a module's parameters, its buffers, then its
   * submodules. The tensors themselves, not copies; a shared one comes under each of its names.
   */
  stateDict(prefix = ''): StateDict {
    const out: StateDict = new Map();
    const path: Module[] = [];
    const visit = (module: Module, name: string): void => {
      // A reference back to a parent is no child.
      if (path.includes(module)) return;
      path.push(module);
      const { parameters, buffers, modules } = module.#members();
      for (const [own, p] of parameters) out.set(join(name, own), p);
      for (const [own, t, persistent] of buffers) if (persistent) out.set(join(name, own), t);
      for (const [child, m] of modules) visit(m, join(name, child));
      path.pop();
    };
    visit(this, prefix);
    return out;
  }

  /**
   * Copies values into the parameters and buffers in place, converting the dtype. Nothing is copied if anything is wrong.
   *
   * @param state tensors on the module's device by name, as stateDict() gives them
   * @param options `strict`: missing and unexpected names are errors, default true
   * @returns the names that were missing and unexpected
   * @throws DataError that lists all that is missing, unexpected or mis-shaped; DeviceError for tensors of another device.
   * @source torch.nn.Module.load_state_dict
   */
  loadStateDict(
    state: ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>,
    { strict = true }: { strict?: boolean } = {},
  ): LoadReport {
    const given = state instanceof Map ? (state as StateDict) : new Map(Object.entries(state));
    const own = this.stateDict();
    const missing = [...own.keys()].filter((name) => !given.has(name));
    const unexpected = [...given.keys()].filter((name) => !own.has(name));
    const shared = [...own].filter(([name]) => given.has(name));
    const misshaped = shared.filter(([name, t]) => !sameShape(t.shape, given.get(name)!.shape));
    if (misshaped.length > 0 || (strict && missing.length + unexpected.length > 0)) {
      const lines = [`loadStateDict: expected the state of ${this.constructor.name}, got one that differs`];
      if (strict && missing.length > 0) lines.push(`  missing: ${missing.join(', ')}`);
      if (strict && unexpected.length > 0) lines.push(`  unexpected: ${unexpected.join(', ')}`);
      for (const [name, t] of misshaped) {
        lines.push(
          `  mis-shaped: ${name}, expected ${formatShape(t.shape)}, got ${formatShape(given.get(name)!.shape)}`,
        );
      }
      if (misshaped.length === 0) lines.push('  pass { strict: false } to load only the names that match');
      throw new DataError(lines.join('\n'));
    }
    for (const [name, t] of shared) {
      const source = given.get(name)!;
      if (source.device !== t.device) {
        throw new DeviceError(
          `loadStateDict: expected '${name}' on ${t.device.info.name}, got it on ${source.device.info.name}; move it with await x.to(device)`,
        );
      }
    }
    for (const [name, t] of shared) {
      const source = given.get(name)!;
      // The same memory needs no copy, and WebGPU allows none.
      if (source.storage !== t.storage) executeInPlace(copyProgram, [source], [t], null);
    }
    return { missing, unexpected };
  }

  /**
   * Converts all floating-point parameters and buffers to another dtype, or moves everything to another device. The
   * tensors stay the same objects, so optimizers keep working; gradients are dropped.
   *
   * @throws DTypeError for a dtype that is not floating-point or that the device does not have.
   * @source torch.nn.Module.to
   */
  to(dtype: DType): this;
  to(device: Device): Promise<this>;
  to(target: DType | Device): this | Promise<this> {
    return typeof target === 'string' ? this.#toDType(target) : this.#toDevice(target);
  }

  #tensors(): Tensor[] {
    return [...this.parameters(), ...this.buffers()];
  }

  #toDType(dtype: DType): this {
    if (!isFloat(dtype))
      throw new DTypeError(`to: expected a floating-point dtype for a module, got ${dtype}`);
    for (const t of this.#tensors()) {
      if (!isFloat(t.dtype) || t.dtype === dtype) continue;
      if (!t.device.dtypes.has(dtype)) {
        throw new DTypeError(
          `to: expected one of ${[...t.device.dtypes].join(', ')} on ${t.device.info.name}, got ${dtype}`,
        );
      }
      unscoped(() => {
        const converted = Tensor.allocate(t.device, dtype, t.shape, t.op);
        executeInPlace(copyProgram, [t], [converted], null);
        replace(t, converted);
      });
    }
    return this;
  }

  async #toDevice(device: Device): Promise<this> {
    for (const t of this.#tensors()) {
      if (t.device === device) continue;
      const data = await t.data();
      unscoped(() => replace(t, fromHost(data, t.shape, { dtype: t.dtype, device }, t.op)));
    }
    return this;
  }
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

/** Puts `other` in the place of `t`'s values, and takes it over. */
function replace(t: Tensor, other: Tensor): void {
  clearGrad(t);
  t.replaceStorage(other);
  other.release();
}

/** Gives a gradient back. */
function clearGrad(t: Tensor): void {
  capturing.current?.gradsZeroed([t]);
  t.grad?.release();
  t.grad = null;
}
