/** Operations along rows. */
export { type LayerNormOptions, layerNorm, type RMSNormOptions, rmsNorm } from './norm-layers.js';
export { logSoftmax, softmax } from './softmax.js';
