/** The parent of every error that dawngrad throws on purpose. */
export class DawngradError extends Error {
  override name = 'DawngradError';
}
/** Shapes, dims or indices that do not fit an operation. */
export class ShapeError extends DawngradError {
  override name = 'ShapeError';
}
/** Element types that do not fit an operation. */
export class DTypeError extends DawngradError {
  override name = 'DTypeError';
}
/** A device that is missing, lost, out of memory, or refused an operation. */
export class DeviceError extends DawngradError {
  override name = 'DeviceError';
}
/** A tensor used after its memory went back to the pool. */
export class ReleasedTensorError extends DawngradError {
  override name = 'ReleasedTensorError';
}
/** Misuse of autograd. */
export class GradError extends DawngradError {
  override name = 'GradError';
}
/** Files or data that are malformed. */
export class DataError extends DawngradError {
  override name = 'DataError';
}
