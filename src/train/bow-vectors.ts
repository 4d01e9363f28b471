/** Texts as sparse vectors of words: counts or tf-idf over the words that most documents hold. */
import { countWords } from '../data/words.js';
import { DataError } from '../device/errors.js';

/** A text's features: those that are not 0. */
export interface SparseRow {
  readonly ids: Int32Array;
  readonly values: Float32Array;
}

/** How texts become vectors. */
export interface BowVectorOptions {
  /** Words kept at most, those of most documents; 10,000 by default. */
  maxWords?: number;
  /** Leaves out words of fewer documents; 2 by default. */
  minDocuments?: number;
  /**
   * 'tfidf' (default): (1 + ln count) · (1 + ln((1 + n) / (1 + documents))), each text scaled to length 1;
   * 'counts': ln(1 + count).
   */
  weighting?: 'tfidf' | 'counts';
}

/** A `BowVectors` as JSON. */
export interface BowVectorsJSON {
  weighting: 'tfidf' | 'counts';
  words: string[];
  /** Weight of each word by its rarity. */
  idf: number[];
}

/**
 * The words of a collection, and texts as vectors of them.
 * @source sklearn.feature_extraction.text.TfidfVectorizer(sublinear_tf=True)
 */
export class BowVectors {
  private readonly ids: ReadonlyMap<string, number>;

  private constructor(
    readonly words: readonly string[],
    private readonly idf: Float64Array,
    private readonly weighting: 'tfidf' | 'counts',
  ) {
    this.ids = new Map(words.map((word, id) => [word, id]));
  }

  /**
   * Chooses the words and gives the texts as vectors, reading each text once.
   * @throws DataError where no word is in enough documents
   */
  static async fit(
    texts: Iterable<string> | AsyncIterable<string>,
    { maxWords = 10_000, minDocuments = 2, weighting = 'tfidf' }: BowVectorOptions = {},
  ): Promise<{ vectors: BowVectors; rows: SparseRow[] }> {
    const counted: Map<string, number>[] = [];
    const documents = new Map<string, number>();
    for await (const text of texts) {
      const counts = countWords([text]);
      counted.push(counts);
      for (const word of counts.keys()) documents.set(word, (documents.get(word) ?? 0) + 1);
    }
    const chosen = [...documents]
      .filter(([, n]) => n >= minDocuments)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
      .slice(0, maxWords);
    if (chosen.length === 0) {
      throw new DataError(
        `BowVectors: expected words that are in at least ${minDocuments} documents, got none in ${counted.length} documents; lower minDocuments`,
      );
    }
    const idf = Float64Array.from(chosen, ([, n]) => 1 + Math.log((1 + counted.length) / (1 + n)));
    const vectors = new BowVectors(
      chosen.map(([word]) => word),
      idf,
      weighting,
    );
    return { vectors, rows: counted.map((counts) => vectors.rowOf(counts)) };
  }

  static fromJSON({ weighting, words, idf }: BowVectorsJSON): BowVectors {
    return new BowVectors(words, Float64Array.from(idf), weighting);
  }

  toJSON(): BowVectorsJSON {
    return { weighting: this.weighting, words: [...this.words], idf: [...this.idf] };
  }

  /** A text's features; words outside the collection count for nothing. */
  row(text: string): SparseRow {
    return this.rowOf(countWords([text]));
  }

  private rowOf(counts: ReadonlyMap<string, number>): SparseRow {
    const entries: [id: number, value: number][] = [];
    for (const [word, count] of counts) {
      const id = this.ids.get(word);
      if (id === undefined) continue;
      const value = this.weighting === 'counts' ? Math.log1p(count) : (1 + Math.log(count)) * this.idf[id];
      entries.push([id, value]);
    }
    entries.sort(([a], [b]) => a - b);
    const length =
      this.weighting === 'counts' ? 1 : Math.sqrt(entries.reduce((sum, [, value]) => sum + value * value, 0));
    return {
      ids: Int32Array.from(entries, ([id]) => id),
      values: Float32Array.from(entries, ([, value]) => value / length),
    };
  }
}

/** Rows side by side as a dense matrix [B, V]. */
export function densify(rows: readonly SparseRow[], width: number): Float32Array {
  const dense = new Float32Array(rows.length * width);
  rows.forEach(({ ids, values }, b) => {
    for (let k = 0; k < ids.length; k++) dense[b * width + ids[k]] = values[k];
  });
  return dense;
}
