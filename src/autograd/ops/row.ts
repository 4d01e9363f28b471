/** Operations along rows. */
export {
  addLayerNorm,
  addRMSNorm,
  type LayerNormOptions,
  layerNorm,
  type RMSNormOptions,
  rmsNorm,
} from './norm-layers.js';
export { logSoftmax, softmax } from './softmax.js';
