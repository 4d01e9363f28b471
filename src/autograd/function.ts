/** Operations of one's own, with a gradient of one's own. */

import { isFloat } from '../device/dtype.js';
import { GradError, ShapeError } from '../device/errors.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { mode, noGrad } from './mode.js';
import { Node } from './node.js';
import { save } from './saved.js';

/** Hands values from forward to backward. */
export interface FunctionContext {
  /** Keeps tensors for backward: inputs, outputs, or intermediate values. Call it once, in forward. */
  saveForBackward(...tensors: Tensor[]): void;
  /** What saveForBackward kept, in order. */
  readonly savedTensors: readonly Tensor[];
  /** Which inputs want a gradient. */
  readonly needsInputGrad: readonly boolean[];
}

export interface CustomFunction<I extends Tensor[]> {
  readonly name: string;
  /** Computes the result; its operations are not recorded. */
  forward(ctx: FunctionContext, ...inputs: I): Tensor;
  /** Gradients of the inputs from that of the result, in operations; null where there is none. */
  backward(ctx: FunctionContext, gradOutput: Tensor): Tensor | null | readonly (Tensor | null)[];
}

/**
 * Makes a differentiable function from a forward and a backward formula. Check it with `gradcheck`.
 *
 * @throws GradError when backward gives another number of gradients than there are inputs; ShapeError when a gradient
 *   has another shape than its input.
 * @source torch.autograd.Function
 * @example
 * const cube = customFunction({
 *   name: 'cube',
 *   forward(ctx, x) { ctx.saveForBackward(x); return x.mul(x).mul(x); },
 *   backward(ctx, g) { const [x] = ctx.savedTensors; return g.mul(x).mul(x).mul(3); },
 * });
 */
export function customFunction<I extends Tensor[]>(definition: CustomFunction<I>): (...inputs: I) => Tensor {
  const { name } = definition;
  return (...inputs) => {
    const wantsGrad = mode.gradEnabled && inputs.some((t) => t.requiresGrad);
    let kept: readonly Tensor[] = [];
    const needsInputGrad = inputs.map((t) => t.requiresGrad);
    const result = noGrad(() =>
      definition.forward(
        {
          saveForBackward: (...tensors) => {
            kept = tensors;
          },
          get savedTensors(): readonly Tensor[] {
            throw new GradError(`${name}: savedTensors is for backward; forward has its inputs`);
          },
          needsInputGrad,
        },
        ...inputs,
      ),
    );
    if (!wantsGrad || !isFloat(result.dtype)) return result;

    // Saved inputs stay connected to what made them; the node unpacks by position.
    const sources = kept.map((t) => inputs.indexOf(t as I[number]));
    const isOutput = kept.map((t) => t === result);
    const shapes = inputs.map((t) => t.shape);
    const node = new Node(name, result.device, inputs, (self, [gradOutput]) => {
      const ctx: FunctionContext = {
        saveForBackward: () => {
          throw new GradError(`${name}: saveForBackward is for forward`);
        },
        get savedTensors() {
          return sources.map((input, slot) => {
            if (input >= 0) return self.unpackInput(slot, input);
            return isOutput[slot] ? self.unpackOutput(slot, 0) : self.saved[slot]!.unpack(name, null, 0);
          });
        },
        needsInputGrad,
      };
      const result = definition.backward(ctx, gradOutput!);
      const gradients = result === null || result instanceof Tensor ? [result] : result;
      if (gradients.length !== shapes.length) {
        throw new GradError(
          `${name}: expected ${shapes.length} gradients from backward, one per input, got ${gradients.length}`,
        );
      }
      gradients.forEach((g, i) => {
        if (g && !sameShape(g.shape, shapes[i])) {
          throw new ShapeError(
            `${name}: expected a gradient of shape ${formatShape(shapes[i])} for input ${i}, got ${formatShape(g.shape)}`,
          );
        }
      });
      return gradients;
    });
    node.outputShapes = [result.shape];
    node.saved = kept.map((t) => save(t));
    return new Tensor(
      result.storage.retain(),
      result.dtype,
      result.shape,
      result.strides,
      result.offset,
      name,
      node,
    );
  };
}
