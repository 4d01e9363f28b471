/** What every command of the bench understands. */
export interface Options {
  readonly device?: 'cpu' | 'webgpu';
  readonly adapter?: string;
  readonly only?: RegExp;
  /** A file, or true for one in bench/results named by time and device. */
  readonly json?: string | true;
  /** Seconds per measurement. */
  readonly seconds: number;
  readonly large?: boolean;
  readonly cold?: boolean;
  readonly engines?: RegExp;
  readonly rounds?: number;
  /** Minutes for each row to wait for a quiet machine. */
  readonly quiet?: number;
}
