/** The exports of the CPU device's WebAssembly module. Addresses are in bytes, sizes and strides in elements. */
export { matmul, matmulScratchBytes } from './matmul';
