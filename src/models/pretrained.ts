/** Where the methods of models find what reads and writes files, which browsers have not. */
import type { DType } from '../device/dtype.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';

/** How far reading or downloading a file has come. */
export interface PretrainedProgress {
  readonly kind: 'download' | 'load';
  /** The file's name in its folder. */
  readonly file: string;
  /** Bytes done, and in all. */
  readonly bytes: number;
  readonly total: number;
}

export interface PretrainedOptions {
  /** Default: the default device. */
  readonly device?: Device;
  /** What the weights become; default float32, whatever the file's own type. */
  readonly dtype?: DType;
  readonly onProgress?: (progress: PretrainedProgress) => void;
  /** Dropout in all three places, where the model is trained on; default as config.json says. */
  readonly dropout?: number;
  /** Branch, tag or commit on the Hub; default `main`. */
  readonly revision?: string;
}

export interface SavePretrainedOptions {
  /** How the file holds the weights; default the model's own dtype. BF16 and F16 round to nearest. */
  readonly dtype?: 'F32' | 'F16' | 'BF16';
  /** Files larger than this are split, as bytes of tensors; default 5e9. */
  readonly maxShardBytes?: number;
}

/** What `dawngrad/node` brings. */
export interface PretrainedFiles {
  load(nameOrFolder: string, options: PretrainedOptions): Promise<unknown>;
  save(folder: string, model: unknown, options: SavePretrainedOptions): Promise<void>;
}

let files: PretrainedFiles | undefined;

/** @internal */
export function setPretrainedFiles(given: PretrainedFiles): void {
  files = given;
}

/** @throws DataError where nothing reads files: in browsers, or before `dawngrad/node` was imported */
export function pretrainedFiles(caller: string): PretrainedFiles {
  if (files) return files;
  throw new DataError(
    `${caller}: expected Node.js with dawngrad/node, got no access to files; add: import 'dawngrad/node'`,
  );
}
