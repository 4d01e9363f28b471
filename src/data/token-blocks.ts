/** One long stream of tokens as blocks of one shape: what fine-tuning trains and is measured on. */
import { DataError } from '../device/errors.js';
import { HostRandom, permutation } from './random.js';

/** A target that a loss does not count: PyTorch's `ignore_index`. */
export const IGNORE = -100;
/** Tokens of a batch at most: 1 GiB of ids, beyond what any device takes. */
const MOST_TOKENS = 2 ** 28;

/** Ids and, shifted by one, what follows them, or −100 where it does not count; both int32 of shape [B, T]. */
export interface TokenBlock {
  readonly input: Int32Array;
  readonly target: Int32Array;
  readonly shape: readonly [B: number, T: number];
  /** Targets that count. */
  readonly count: number;
}

/** A stream of tokens; without a mask every token counts. */
export interface MaskedTokens {
  /** int32 of shape [N]. */
  readonly ids: Int32Array;
  /** 0 where a token is context only; uint8 of shape [N]. */
  readonly mask?: Uint8Array;
}

export interface TokenBlocksOptions {
  /** B. */
  batchSize: number;
  /** T. */
  blockSize: number;
  /** Decides the order of the blocks; 0 by default. */
  seed?: number;
}

/** Where `TokenBlocks` stands. */
export interface TokenBlocksState {
  epoch: number;
  /** Blocks of this epoch that were given out. */
  position: number;
  /** Blocks per epoch, so that another stream is noticed. */
  blocks: number;
}

/**
 * Batches [B, T] of the blocks of a stream, each block once per epoch, in an order of its own for every epoch.
 *
 * Block i predicts the tokens iT + 1 … iT + T; the last one is filled up with targets of −100. Blocks without a target that
 * counts teach nothing (and a mean over none is 0/0) and are left out. All batches have one shape, which captured steps
 * need: where an epoch ends within a batch, the next one fills it. A `BatchSource` of the training loop.
 */
export class TokenBlocks {
  /** Blocks per epoch. */
  readonly length: number;
  /** Targets per epoch that count. */
  readonly targets: number;
  private readonly starts: Int32Array;
  private readonly seed: number;
  private epochNumber = 0;
  private position = 0;
  private order: Int32Array | null = null;

  /** @throws DataError when no token counts, or the mask has another length than the ids */
  constructor(
    private readonly stream: MaskedTokens,
    private readonly options: TokenBlocksOptions,
  ) {
    check('TokenBlocks', stream, options);
    this.seed = options.seed ?? 0;
    const T = options.blockSize;
    const starts: number[] = [];
    let targets = 0;
    for (let start = 0; start < stream.ids.length - 1; start += T) {
      const count = countTargets(stream, start + 1, start + 1 + T);
      targets += count;
      if (count > 0) starts.push(start);
    }
    if (starts.length === 0)
      throw new DataError(
        `TokenBlocks: expected at least one token after the first to count, got none among ${stream.ids.length}`,
      );
    this.starts = Int32Array.from(starts);
    this.length = starts.length;
    this.targets = targets;
  }

  /** Whole epochs that were given out. */
  get epoch(): number {
    return this.epochNumber;
  }

  next(): TokenBlock {
    const { batchSize: B, blockSize: T } = this.options;
    const block = emptyBlock(B, T);
    let count = 0;
    for (let b = 0; b < B; b++) count += fill(block, b, this.stream, this.nextStart());
    return { ...block, count };
  }

  private nextStart(): number {
    if (this.position === this.length) {
      this.epochNumber++;
      this.position = 0;
      this.order = null;
    }
    // A generator per epoch: the position is two numbers.
    this.order ??= permutation(this.length, new HostRandom(this.seed * 2 ** 20 + this.epochNumber));
    return this.starts[this.order[this.position++]];
  }

  state(): TokenBlocksState {
    return { epoch: this.epochNumber, position: this.position, blocks: this.length };
  }

  /** @throws DataError for a state of another stream or block size */
  load(state: unknown): void {
    const { epoch, position, blocks } = (state ?? {}) as Partial<TokenBlocksState>;
    const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
    if (!isCount(epoch) || !isCount(position) || !isCount(blocks)) {
      throw new DataError(
        `TokenBlocks.load: expected { epoch, position, blocks }, got ${JSON.stringify(state)}`,
      );
    }
    if (blocks !== this.length || position > blocks) {
      throw new DataError(
        `TokenBlocks.load: expected a state of ${this.length} blocks, got position ${position} of ${blocks}; ` +
          'the text, the tokenizer or the block size changed since it was saved',
      );
    }
    this.epochNumber = epoch;
    this.position = position;
    this.order = null;
  }
}

export interface EvaluationOptions {
  /** B; the last batch may hold fewer blocks. */
  batchSize: number;
  /** T. */
  blockSize: number;
  /**
   * Tokens from one block's start to the next one's, T by default. With fewer every token but the first ones sees at least
   * T − stride tokens before it, at T / stride times the work.
   */
  stride?: number;
}

/**
 * The blocks of a held-out stream in order: each token that counts, but for the stream's first, is a target exactly once.
 * Sum `loss · count` and divide by the sum of counts for the mean over all targets.
 */
export function* evaluationBlocks(stream: MaskedTokens, options: EvaluationOptions): Generator<TokenBlock> {
  check('evaluationBlocks', stream, options);
  const { batchSize, blockSize: T, stride = T } = options;
  if (!Number.isInteger(stride) || stride < 1 || stride > T) {
    throw new DataError(`evaluationBlocks: expected a stride from 1 to the block size ${T}, got ${stride}`);
  }
  const windows: { start: number; from: number }[] = [];
  for (let start = 0, from = 1; from < stream.ids.length; start += stride) {
    // The first `from − start − 1` targets belong to the window before.
    if (countTargets(stream, from, start + 1 + T) > 0) windows.push({ start, from });
    from = start + 1 + T;
  }
  for (let w = 0; w < windows.length; w += batchSize) {
    const batch = windows.slice(w, w + batchSize);
    const block = emptyBlock(batch.length, T);
    let count = 0;
    for (const [b, { start, from }] of batch.entries()) count += fill(block, b, stream, start, from);
    yield { ...block, count };
  }
}

function emptyBlock(B: number, T: number): Omit<TokenBlock, 'count'> {
  // Id 0 beyond the end of the stream: any id will do, causal attention shows it to no target that counts.
  return { input: new Int32Array(B * T), target: new Int32Array(B * T).fill(IGNORE), shape: [B, T] };
}

/** Writes row `b`: inputs from `start` on, targets from `from` on. Returns how many targets count. */
function fill(
  { input, target, shape: [, T] }: Omit<TokenBlock, 'count'>,
  b: number,
  { ids, mask }: MaskedTokens,
  start: number,
  from = start + 1,
): number {
  // Inputs may reach one token beyond the last target; it predicts nothing.
  input.set(ids.subarray(start, start + T), b * T);
  const end = Math.min(start + 1 + T, ids.length);
  let count = 0;
  for (let i = from; i < end; i++) {
    if (mask?.[i] === 0) continue;
    target[b * T + i - start - 1] = ids[i];
    count++;
  }
  return count;
}

function countTargets({ ids, mask }: MaskedTokens, from: number, to: number): number {
  const end = Math.min(to, ids.length);
  if (mask === undefined) return Math.max(0, end - from);
  let count = 0;
  for (let i = from; i < end; i++) if (mask[i] !== 0) count++;
  return count;
}

function check(name: string, { ids, mask }: MaskedTokens, options: EvaluationOptions): void {
  for (const key of ['batchSize', 'blockSize'] as const) {
    if (!Number.isInteger(options[key]) || options[key] < 1)
      throw new DataError(`${name}: expected ${key} of at least 1, got ${options[key]}`);
  }
  if (options.batchSize * options.blockSize > MOST_TOKENS) {
    throw new DataError(
      `${name}: expected batches of at most ${MOST_TOKENS} tokens, got ${options.batchSize} blocks of ${options.blockSize}`,
    );
  }
  if (mask !== undefined && mask.length !== ids.length) {
    throw new DataError(
      `${name}: expected a mask of ${ids.length} entries, as many as ids, got ${mask.length}`,
    );
  }
}
