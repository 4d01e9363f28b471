/** The namespace `autograd`: gradients beyond `loss.backward()`. */
export { detectAnomaly } from './anomaly.js';
export { checkpoint } from './checkpoint.js';
export { backward, type BackwardOptions, grad, type GradOptions } from './engine.js';
export { type CustomFunction, customFunction, type FunctionContext } from './function.js';
export { type Differentiable, gradcheck, type GradcheckOptions, gradgradcheck } from './gradcheck.js';
export { enableGrad, isGradEnabled, noGrad } from './mode.js';
export {
  type BackwardContext,
  defineOp,
  type Op,
  type OpDefinition,
  type SaveName,
  type Spec,
} from './op.js';
