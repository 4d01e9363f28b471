/** The namespace `autograd`: gradients beyond `loss.backward()`. */
export { detectAnomaly } from './anomaly.js';
export { checkpoint } from './checkpoint.js';
export { type BackwardOptions, backward, type GradOptions, grad } from './engine.js';
export { type CustomFunction, customFunction, type FunctionContext } from './function.js';
export { type Differentiable, type GradcheckOptions, gradcheck, gradgradcheck } from './gradcheck.js';
export { enableGrad, isGradEnabled, noGrad } from './mode.js';
export {
  type BackwardContext,
  defineOp,
  type Op,
  type OpDefinition,
  type SaveName,
  type Spec,
} from './op.js';
