/** A language model that was never trained for the question, asked it: how much likelier is "yes" than "no"? */
import { noGrad } from '../autograd/mode.js';
import { reshape } from '../autograd/ops/broadcast.js';
import { gather, indexSelect } from '../autograd/ops/index.js';
import { logSoftmax } from '../autograd/ops/softmax.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { DataError } from '../device/errors.js';
import type { CausalLM } from '../models/causal-lm.js';
import { chunkSpans } from '../models/chunk-batch.js';
import { tensor } from '../tensor/factories.js';
import { keep, scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';

export interface ZeroShotOptions {
  /** What is asked after the text; it must have an answer of the two. */
  readonly question: string;
  /** The answers, with the space that stands before them. Default ' yes' and ' no'. */
  readonly yes?: string;
  readonly no?: string;
  /** Tokens of a text that are read at once. Default, and most: what the context has room for beside the question. */
  readonly maxTokens?: number;
  /** Of longer texts: all excerpts, whose log-odds are averaged, or the first. Default 'chunks'. */
  readonly excerpts?: 'chunks' | 'first';
  /** Most excerpts of a text, spread evenly over it. Default all. */
  readonly maxChunks?: number | null;
  /**
   * Of answers of several tokens: 'mean' of the log-probability over tokens, so that a longer answer is not the less likely
   * one by its length alone, or 'sum'. Default 'mean'.
   */
  readonly length?: 'mean' | 'sum';
  /**
   * Divides by what the model says to texts without content: true for 'N/A', '[MASK]' and nothing, or such texts. Default
   * false.
   */
  readonly calibrate?: boolean | readonly string[];
  /** Excerpts that are read together. Default 8. */
  readonly batchSize?: number;
  /** Told how many texts are judged. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Texts that say nothing, as in the paper. */
const CONTENT_FREE = ['N/A', '[MASK]', ''];

/** A row of a batch: an excerpt, the question, and all but the last token of an answer. */
interface Row {
  readonly ids: Int32Array;
  /** Number of the text. */
  readonly text: number;
  /** Which of the answers it is for, from `first` on. */
  readonly answers: readonly number[];
  /** Where the answers' first tokens are said. */
  readonly first: number;
}

/**
 * The probability that the answer is yes, of each text: σ(l(yes) − l(no)), where l is the log-probability of an answer after
 * `text\n\nquestion\nAnswer:`. Calibrated, the log-odds of texts without content are subtracted.
 *
 * @param model a language model; it is set to evaluate until the end
 * @returns probabilities, one per text; longer texts by the mean of the log-odds of their excerpts
 * @throws DataError for options that make no question, and a context that leaves no room
 * @source Brown et al., Language models are few-shot learners (2020), 2.4; Zhao et al., Calibrate before use (2021)
 * @example
 * const p = await zeroShot(model, tokenizer, scripts, { question: 'Was this film nominated for an Academy Award?', calibrate: true });
 */
export async function zeroShot(
  model: CausalLM,
  tokenizer: Tokenizer,
  texts: readonly string[],
  options: ZeroShotOptions,
): Promise<Float64Array> {
  const { calibrate = false, onProgress } = options;
  const asking = new Asking(model, tokenizer, options);
  const wasTraining = model.training;
  if (wasTraining) model.eval();
  try {
    const bias = calibrate === false ? 0 : await asking.bias(calibrate === true ? CONTENT_FREE : calibrate);
    const odds = await asking.logOdds(texts, onProgress);
    return odds.map((x) => 1 / (1 + Math.exp(bias - x)));
  } finally {
    if (wasTraining) model.train();
  }
}

class Asking {
  private readonly question: Int32Array;
  private readonly answers: readonly [yes: Int32Array, no: Int32Array];
  /** Tokens of an excerpt. */
  private readonly room: number;

  constructor(
    private readonly model: CausalLM,
    private readonly tokenizer: Tokenizer,
    private readonly options: ZeroShotOptions,
  ) {
    const { question, yes = ' yes', no = ' no', maxTokens, batchSize = 8, length, excerpts } = options;
    const encode = (answer: string) => tokenizer.encode(answer);
    this.answers = [encode(yes), encode(no)];
    if (this.answers.some((ids) => ids.length === 0) || isEqual(...this.answers)) {
      throw new DataError(`zeroShot: expected two answers that differ, got '${yes}' and '${no}'`);
    }
    for (const [name, n] of Object.entries({ maxTokens: maxTokens ?? 1, batchSize })) {
      if (!(Number.isInteger(n) && n > 0)) {
        throw new DataError(`zeroShot: expected ${name} to be a positive integer, got ${n}`);
      }
    }
    if (!['mean', 'sum', undefined].includes(length) || !['chunks', 'first', undefined].includes(excerpts)) {
      throw new DataError(
        `zeroShot: expected length 'mean' or 'sum' and excerpts 'chunks' or 'first', got '${length}' and '${excerpts}'`,
      );
    }
    this.question = tokenizer.encode(`\n\n${question}\nAnswer:`);
    const { contextLength, vocabSize } = model.shape;
    if (tokenizer.size > vocabSize) {
      throw new DataError(
        `zeroShot: expected the model's own tokenizer, of at most ${vocabSize} tokens, got one of ${tokenizer.size}`,
      );
    }
    const room = contextLength - this.question.length - Math.max(...this.answers.map((a) => a.length)) + 1;
    if (room < 1) {
      throw new DataError(
        `zeroShot: expected a question that leaves room for a text in a context of ${contextLength} tokens, got one of ${this.question.length} tokens`,
      );
    }
    this.room = Math.min(room, maxTokens ?? room);
  }

  /** The log-odds of texts without content: their probabilities are averaged, then compared. */
  async bias(contentFree: readonly string[]): Promise<number> {
    if (contentFree.length === 0) throw new DataError('zeroShot: expected texts without content, got none');
    const odds = await this.logOdds(contentFree);
    const yes = odds.reduce((sum, x) => sum + 1 / (1 + Math.exp(-x)), 0) / odds.length;
    const no = odds.reduce((sum, x) => sum + 1 / (1 + Math.exp(x)), 0) / odds.length;
    return Math.log(yes) - Math.log(no);
  }

  /** l(yes) − l(no) of each text, the mean over its excerpts. */
  async logOdds(
    texts: readonly string[],
    onProgress?: (done: number, total: number) => void,
  ): Promise<Float64Array> {
    const sums = new Float64Array(texts.length);
    const counts = new Float64Array(texts.length);
    const { batchSize = 8 } = this.options;
    let rows: Row[] = [];
    const flush = async (): Promise<void> => {
      if (rows.length === 0) return;
      const scores = await this.scores(rows);
      rows.forEach(({ text, answers }, r) => {
        for (const a of answers) sums[text] += a === 0 ? scores[r][a] : -scores[r][a];
        // Each excerpt is in one row for 'yes', alone or beside the other answer.
        if (answers.includes(0)) counts[text]++;
      });
      rows = [];
    };
    for (let text = 0; text < texts.length; text++) {
      for (const row of this.rowsOf(texts[text], text)) {
        rows.push(row);
        if (rows.length >= batchSize) await flush();
      }
      // A text is judged when its last rows are read.
      if (rows.length === 0) onProgress?.(text + 1, texts.length);
    }
    if (rows.length > 0) {
      await flush();
      onProgress?.(texts.length, texts.length);
    }
    return sums.map((sum, text) => sum / counts[text]);
  }

  /** One row of each excerpt where one answer's context holds the other's, as with answers of one token; else two. */
  private *rowsOf(text: string, number: number): Generator<Row> {
    const { question, answers, room, options } = this;
    const { excerpts = 'chunks', maxChunks } = options;
    const ids = this.tokenizer.encode(text);
    const spans =
      excerpts === 'first'
        ? [{ start: 0, end: Math.min(room, ids.length) }]
        : chunkSpans(ids.length, { chunk: room, maxChunks });
    const contexts = answers.map((a) => a.subarray(0, -1));
    const [short, long] = contexts[0].length <= contexts[1].length ? [0, 1] : [1, 0];
    const shared = isEqual(contexts[short], contexts[long].subarray(0, contexts[short].length));
    const groups = shared
      ? [{ context: contexts[long], own: [0, 1] }]
      : contexts.map((context, a) => ({ context, own: [a] }));
    for (const { start, end } of spans) {
      for (const { context, own } of groups) {
        const row = new Int32Array(end - start + question.length + context.length);
        row.set(ids.subarray(start, end));
        row.set(question, end - start);
        row.set(context, end - start + question.length);
        yield { ids: row, text: number, answers: own, first: end - start + question.length - 1 };
      }
    }
  }

  /** The log-probability of each answer that a row is for; NaN for others. */
  private async scores(rows: readonly Row[]): Promise<number[][]> {
    const { model, answers, options } = this;
    const { device } = model.parameters()[0];
    // What stands behind a row is not seen from within it, so zeros will do.
    const T = Math.max(...rows.map(({ ids }) => ids.length));
    const ids = new Int32Array(rows.length * T);
    const at: number[] = [];
    const targets: number[] = [];
    rows.forEach((row, r) => {
      ids.set(row.ids, r * T);
      for (const a of row.answers) {
        answers[a].forEach((token, i) => {
          at.push(r * T + row.first + i);
          targets.push(token);
        });
      }
    });
    const int = (values: Int32Array, shape: number[]): Tensor => tensor(values, { shape, device });
    const logProbabilities = noGrad(() =>
      scope(() => {
        const hidden = model.hidden(int(ids, [rows.length, T]));
        const said = indexSelect(
          reshape(hidden, [rows.length * T, hidden.shape[2]]),
          0,
          int(Int32Array.from(at), [at.length]),
        );
        const logits = reshape(model.head(said), [at.length, model.shape.vocabSize]);
        return keep(gather(logSoftmax(logits, -1), 1, int(Int32Array.from(targets), [at.length, 1])));
      }),
    );
    const values = await logProbabilities.data();
    logProbabilities.release();
    let n = 0;
    return rows.map((row) => {
      const scores = [Number.NaN, Number.NaN];
      for (const a of row.answers) {
        let sum = 0;
        for (let i = 0; i < answers[a].length; i++) sum += values[n++];
        scores[a] = options.length === 'sum' ? sum : sum / answers[a].length;
      }
      return scores;
    });
  }
}

function isEqual(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
