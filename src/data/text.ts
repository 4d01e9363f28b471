/** Token sequences as training data: windows, splits, and the cleaning of Project Gutenberg's files. */
import { DataError } from '../device/errors.js';
import { HostRandom, permutation } from './random.js';

/** One example of a language model: `target[t]` is the token after `input[t]`. Both of shape [T]. */
export interface TextWindow {
  input: Int32Array;
  target: Int32Array;
}

/** All windows of T tokens of a sequence, with the same windows one token later as labels. */
export class SlidingWindowDataset {
  /** Number of windows: ⌊(N − T − 1) / stride⌋ + 1 for N tokens. */
  readonly length: number;
  readonly stride: number;

  /**
   * @param ids the sequence, int32 of shape [N]
   * @param windowLength T, tokens per window
   * @param options `stride`: tokens from one window's start to the next one's; 1 by default
   * @throws DataError when the sequence is too short for a single window and its label
   */
  constructor(
    readonly ids: Int32Array,
    readonly windowLength: number,
    options: { stride?: number } = {},
  ) {
    this.stride = options.stride ?? 1;
    if (!Number.isInteger(windowLength) || windowLength < 1) {
      throw new DataError(
        `SlidingWindowDataset: expected a window length of at least 1, got ${windowLength}`,
      );
    }
    if (!Number.isInteger(this.stride) || this.stride < 1) {
      throw new DataError(`SlidingWindowDataset: expected a stride of at least 1, got ${this.stride}`);
    }
    if (ids.length <= windowLength) {
      throw new DataError(
        `SlidingWindowDataset: expected at least ${windowLength + 1} tokens for windows of ${windowLength}, ` +
          `got ${ids.length}; use more text or a shorter window`,
      );
    }
    this.length = Math.floor((ids.length - windowLength - 1) / this.stride) + 1;
  }

  /**
   * Window `index`: views of the sequence, not copies.
   * @returns input and target, int32 of shape [T]
   */
  get(index: number): TextWindow {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw new DataError(
        `SlidingWindowDataset.get: expected an index from 0 to ${this.length - 1}, got ${index}`,
      );
    }
    const start = index * this.stride;
    const end = start + this.windowLength;
    return { input: this.ids.subarray(start, end), target: this.ids.subarray(start + 1, end + 1) };
  }
}

/** Shares of the data that are held out; the rest is for training. */
export interface SplitFractions {
  /** 0.1 by default. */
  validation?: number;
  /** 0 by default. */
  test?: number;
}

/** The three parts of a split. */
export interface Split {
  train: Int32Array;
  validation: Int32Array;
  test: Int32Array;
}

/**
 * Cuts a sequence into three contiguous parts in the order train, validation, test. Neighbouring windows share
 * tokens, so only a contiguous cut keeps the validation text unseen.
 * @param ids the sequence, int32 of shape [N]
 * @returns views of the sequence; held-out sizes are rounded to whole tokens
 */
export function splitText(ids: Int32Array, fractions: SplitFractions = {}): Split {
  const { trainEnd, validationEnd } = splitPoints('splitText', ids.length, fractions);
  return {
    train: ids.subarray(0, trainEnd),
    validation: ids.subarray(trainEnd, validationEnd),
    test: ids.subarray(validationEnd),
  };
}

/**
 * Deals the indices 0 … n − 1 at random into three parts.
 * @param n number of examples
 * @param seed the same seed gives the same split
 * @returns indices of each part, in random order
 * @source torch.utils.data.random_split
 */
export function trainValidationTestSplit(n: number, fractions: SplitFractions = {}, seed = 0): Split {
  if (!Number.isInteger(n) || n < 0)
    throw new DataError(`trainValidationTestSplit: expected a count, got ${n}`);
  const { trainEnd, validationEnd } = splitPoints('trainValidationTestSplit', n, fractions);
  const order = permutation(n, new HostRandom(seed));
  return {
    train: order.slice(0, trainEnd),
    validation: order.slice(trainEnd, validationEnd),
    test: order.slice(validationEnd),
  };
}

function splitPoints(operation: string, n: number, { validation = 0.1, test = 0 }: SplitFractions) {
  if (!(validation >= 0 && test >= 0 && validation + test <= 1)) {
    throw new DataError(
      `${operation}: expected fractions of at least 0 that sum to at most 1, got validation ${validation} and test ${test}`,
    );
  }
  const testSize = Math.round(n * test);
  // Rounded together, so that fractions which sum to 1 leave exactly nothing for training.
  const trainEnd = n - Math.round(n * (validation + test));
  return { trainEnd, validationEnd: Math.max(trainEnd, n - testSize) };
}

/**
 * Removes the header and the license that Project Gutenberg puts around a text, as well as the byte order mark.
 * @returns the text between the `*** START OF …` and `*** END OF …` lines, or all of it where there are none
 */
export function stripGutenberg(text: string): string {
  const start = /^\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG.*$/im.exec(text);
  const body = start === null ? text : text.slice(start.index + start[0].length);
  const end =
    /^(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg(?:'s|’s)? ).*$/im.exec(
      body,
    );
  const stripped = end === null ? body : body.slice(0, end.index);
  if (start === null && end === null) return text.replace(/^\uFEFF/, '');
  return `${stripped.replace(/^\uFEFF/, '').trim()}\n`;
}
