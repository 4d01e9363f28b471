/** Modules made of modules. */
import type { Tensor } from '../tensor/tensor.js';
import { type Layer, Module } from './module.js';

/**
 * Layers one after the other, named 0, 1, … in the state.
 *
 * @source torch.nn.Sequential
 * @example
 * const mlp = new Sequential(new Linear(2, 8), new ReLU(), new Linear(8, 1));
 */
export class Sequential extends Module {
  readonly #layers: Layer[] = [];

  constructor(...layers: Layer[]) {
    super();
    for (const layer of layers) this.append(layer);
  }

  /** Adds a layer at the end. */
  append(layer: Layer): this {
    Object.assign(this, { [this.#layers.length]: layer });
    this.#layers.push(layer);
    return this;
  }

  /** @internal Puts another layer in the place of the one of this name. */
  replaceChild(name: string, layer: Layer): void {
    this.#layers[Number(name)] = layer;
    Object.assign(this, { [name]: layer });
  }

  get length(): number {
    return this.#layers.length;
  }

  /** The layer at `i`, from the end where negative. */
  at(i: number): Layer | undefined {
    return this.#layers.at(i);
  }

  [Symbol.iterator](): IterableIterator<Layer> {
    return this.#layers[Symbol.iterator]();
  }

  forward(x: Tensor): Tensor {
    for (const layer of this.#layers) x = layer.forward(x);
    return x;
  }
}

/** A list of modules, named 0, 1, … in the state. @source torch.nn.ModuleList */
export class ModuleList<M extends Module = Module> extends Module {
  readonly #list: M[] = [];

  constructor(modules: Iterable<M> = []) {
    super();
    for (const m of modules) this.append(m);
  }

  /** Adds a module at the end. */
  append(module: M): this {
    Object.assign(this, { [this.#list.length]: module });
    this.#list.push(module);
    return this;
  }

  /** @internal Puts another module in the place of the one of this name. */
  replaceChild(name: string, module: M): void {
    this.#list[Number(name)] = module;
    Object.assign(this, { [name]: module });
  }

  get length(): number {
    return this.#list.length;
  }

  /** The module at `i`, from the end where negative. */
  at(i: number): M | undefined {
    return this.#list.at(i);
  }

  [Symbol.iterator](): IterableIterator<M> {
    return this.#list[Symbol.iterator]();
  }
}

/** Modules by name. @source torch.nn.ModuleDict */
export class ModuleDict<M extends Module = Module> extends Module {
  readonly #map = new Map<string, M>();

  constructor(modules: Readonly<Record<string, M>> = {}) {
    super();
    for (const [name, m] of Object.entries(modules)) this.set(name, m);
  }

  /** Adds a module, or replaces it. @throws Error for a name that modules have for something else. */
  set(name: string, module: M): this {
    if (name in this && !this.#map.has(name)) {
      throw new Error(`ModuleDict: expected a free name, got '${name}', which every module has`);
    }
    Object.defineProperty(this, name, {
      value: module,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    this.#map.set(name, module);
    return this;
  }

  /** @internal Puts another module in the place of the one of this name. */
  replaceChild(name: string, module: M): void {
    this.set(name, module);
  }

  get(name: string): M | undefined {
    return this.#map.get(name);
  }

  has(name: string): boolean {
    return this.#map.has(name);
  }

  keys(): IterableIterator<string> {
    return this.#map.keys();
  }

  [Symbol.iterator](): IterableIterator<[string, M]> {
    return this.#map[Symbol.iterator]();
  }
}
