import type { Device } from '../device/types.js';
import type { GradFn, Tensor } from '../tensor/tensor.js';
import type { Saved } from './saved.js';

export type Hook = (grad: Tensor) => Tensor | undefined | void;

/** Computes the gradients of a node's inputs; null where an input has none or needs none. */
export type BackwardFn = (
  node: Node,
  gradOutputs: (Tensor | null)[],
) => readonly (Tensor | null | undefined)[];

let nextId = 1;

/**
 * One recorded operation. Its id grows with time, so that consumers always have larger ids than producers and backward
 * needs no topological sort beyond sorting by id.
 *
 * Nodes are reference-counted by the tensors that they made and by the nodes that consume those: when nobody can reach
 * a node any more, what it saved is released at once, without waiting for the garbage collector.
 */
export class Node implements GradFn {
  readonly id = nextId++;
  /** Per input: the node that made it, the leaf itself, or null where no gradient is needed. */
  readonly parents: readonly (Node | Tensor | null)[];
  readonly parentIndex: readonly number[];
  /** Saved values, by the op's own numbering. */
  saved: (Saved | null)[] = [];
  outputShapes: readonly (readonly number[])[] = [];
  hooks: Map<number, Hook[]> | null = null;
  /** Called with the finished gradient of an output: retainGrad. */
  retained: Map<number, (grad: Tensor) => void> | null = null;
  private refs = 0;

  constructor(
    readonly name: string,
    readonly device: Device,
    inputs: readonly Tensor[],
    readonly backward: BackwardFn,
  ) {
    const parents: (Node | Tensor | null)[] = [];
    const index: number[] = [];
    for (const t of inputs) {
      const parent = t.gradFn ? (t.gradFn as Node) : t.requiresGrad ? t : null;
      if (parent instanceof Node) parent.retain();
      parents.push(parent);
      index.push(t.outputIndex);
    }
    this.parents = parents;
    this.parentIndex = index;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs > 0) return;
    // A work list instead of recursion: graphs are deeper than the stack.
    const dead: Node[] = [this];
    for (let node = dead.pop(); node; node = dead.pop()) {
      node.releaseSaved();
      for (const parent of node.parents) {
        if (parent instanceof Node && --parent.refs === 0) dead.push(parent);
      }
    }
  }

  /** Gives what it saved back; unpacking afterwards is an error. */
  releaseSaved(): void {
    for (const s of this.saved) s?.release();
  }

  needs(input: number): boolean {
    return this.parents[input] !== null;
  }

  /** The saved value `slot`, which is input `input`, connected to what made it. */
  unpackInput(slot: number, input: number): Tensor {
    const parent = this.parents[input];
    if (parent instanceof Node) return this.saved[slot]!.unpack(this.name, parent, this.parentIndex[input]);
    const t = this.saved[slot]!.unpack(this.name, null, 0);
    // A leaf stands for itself, so that second derivatives reach it.
    if (parent !== null) {
      t.release();
      return parent;
    }
    return t;
  }

  /** The saved value `slot`, which is output `index` of this node. */
  unpackOutput(slot: number, index: number): Tensor {
    return this.saved[slot]!.unpack(this.name, this, index);
  }
}
