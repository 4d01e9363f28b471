/** Operations along rows. */
export { layerNorm, type LayerNormOptions, rmsNorm, type RMSNormOptions } from './norm-layers.js';
export { logSoftmax, softmax } from './softmax.js';
