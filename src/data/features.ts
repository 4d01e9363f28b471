/**
 * Columns of a table as numbers: scaling, missing values, categories. What is fitted is fitted on the rows given to `fit` and
 * never changes, so that nothing of held-out rows can come in by `transform`. A missing number is NaN, a missing category null.
 */
import { DataError } from '../device/errors.js';
import { percentile } from './lengths.js';

/** A column of numbers; NaN where there is none. */
export type NumberColumn = ArrayLike<number>;
/** A column of names; null where there is none. */
export type NameColumn = ArrayLike<string | null>;

/** What a `StandardScaler` has fitted. */
export interface StandardScalerJSON {
  readonly mean: number;
  readonly deviation: number;
}

/**
 * Brings a column to mean 0 and deviation 1: (x − mean) / deviation. Missing values count for nothing and stay missing; a
 * column of equal values becomes 0.
 *
 * @source sklearn.preprocessing.StandardScaler
 * @example
 * const scaler = StandardScaler.fit([1, 2, 3]);
 * scaler.transform([2, 3]); // [0, 1.22]
 */
export class StandardScaler {
  private constructor(
    readonly mean: number,
    /** Of the population, divided by n; 1 where all values are equal. */
    readonly deviation: number,
  ) {}

  /** @throws DataError without any value, and for infinite ones */
  static fit(values: NumberColumn): StandardScaler {
    const known = knownValues('StandardScaler', values);
    const mean = known.reduce((a, b) => a + b, 0) / known.length;
    const variance = known.reduce((a, b) => a + (b - mean) ** 2, 0) / known.length;
    // Rounding leaves a tiny variance to a constant column, which must not be blown up.
    const isConstant = variance <= (1e-12 * mean) ** 2;
    return new StandardScaler(mean, isConstant ? 1 : Math.sqrt(variance));
  }

  static fromJSON({ mean, deviation }: StandardScalerJSON): StandardScaler {
    return new StandardScaler(mean, deviation);
  }

  /** @returns (x − mean) / deviation [n] */
  transform(values: NumberColumn): Float64Array {
    return Float64Array.from(values, (x) => (x - this.mean) / this.deviation);
  }

  /** @returns z · deviation + mean [n] */
  inverse(values: NumberColumn): Float64Array {
    return Float64Array.from(values, (z) => z * this.deviation + this.mean);
  }

  toJSON(): StandardScalerJSON {
    return { mean: this.mean, deviation: this.deviation };
  }
}

/** What a `MedianImputer` has fitted. */
export interface MedianImputerJSON {
  readonly median: number;
  readonly groups: readonly (readonly [name: string, median: number])[];
}

/** When a group has a median of its own. */
export interface MedianImputerOptions {
  /** Known values that a group needs; smaller ones take the median of all. 5 by default. */
  readonly minCount?: number;
}

/**
 * Puts the median in the place of missing values: that of the row's group where there are groups (the age of a "Master" is not
 * that of a "Mr"), else that of all.
 *
 * @source sklearn.impute.SimpleImputer(strategy='median'), for each group
 */
export class MedianImputer {
  private constructor(
    readonly median: number,
    /** Medians of the groups that are large enough. */
    readonly groups: ReadonlyMap<string, number>,
  ) {}

  /**
   * @param values [n], NaN where missing
   * @param groups [n], the group of each row; rows of none take the median of all
   * @throws DataError without any value, for infinite ones, and for unequal lengths
   */
  static fit(
    values: NumberColumn,
    groups?: NameColumn,
    { minCount = 5 }: MedianImputerOptions = {},
  ): MedianImputer {
    checkGroups(values, groups);
    const median = medianOf(knownValues('MedianImputer', values));
    const members = new Map<string, number[]>();
    for (let i = 0; i < values.length; i++) {
      const group = groups?.[i] ?? null;
      if (group === null || Number.isNaN(values[i])) continue;
      const own = members.get(group);
      if (own === undefined) members.set(group, [values[i]]);
      else own.push(values[i]);
    }
    const large = [...members].filter(([, own]) => own.length >= minCount).sort(byName);
    return new MedianImputer(median, new Map(large.map(([group, own]) => [group, medianOf(own)])));
  }

  static fromJSON({ median, groups }: MedianImputerJSON): MedianImputer {
    return new MedianImputer(median, new Map(groups));
  }

  /** @returns the values [n], none missing */
  transform(values: NumberColumn, groups?: NameColumn): Float64Array {
    checkGroups(values, groups);
    return Float64Array.from(values, (x, i) =>
      Number.isNaN(x) ? (this.groups.get(groups?.[i] ?? '') ?? this.median) : x,
    );
  }

  toJSON(): MedianImputerJSON {
    return { median: this.median, groups: [...this.groups] };
  }
}

/** 1 where a value is missing, else 0: that nobody wrote down an age may say more than the age. */
export function missingFlags(values: NumberColumn): Float64Array {
  return Float64Array.from(values, (x) => (Number.isNaN(x) ? 1 : 0));
}

/** Which names get a number of their own. */
export interface CategoryOptions {
  /** Rows that a name needs; rarer ones are unknown. 1 by default. */
  readonly minCount?: number;
}

/**
 * Numbers names: 1 … for those seen in `fit`, in alphabetical order, and 0 for all others and for none. The numbers are rows of
 * an embedding with `size` rows.
 *
 * @source sklearn.preprocessing.OrdinalEncoder
 * @example
 * const ports = CategoryEncoder.fit(['S', 'C', 'S', null]);
 * ports.encode(['S', 'Q', null]); // [2, 0, 0]
 */
export class CategoryEncoder {
  private readonly ids: ReadonlyMap<string, number>;

  private constructor(
    /** The known names; `categories[i]` has the number i + 1. */
    readonly categories: readonly string[],
  ) {
    this.ids = new Map(categories.map((name, i) => [name, i + 1]));
  }

  static fit(names: NameColumn, { minCount = 1 }: CategoryOptions = {}): CategoryEncoder {
    const counts = new Map<string, number>();
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      if (name !== null) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const known = [...counts].filter(([, count]) => count >= minCount).sort(byName);
    return new CategoryEncoder(known.map(([name]) => name));
  }

  static fromJSON(categories: readonly string[]): CategoryEncoder {
    return new CategoryEncoder([...categories]);
  }

  /** Numbers given out: the known names and 0. */
  get size(): number {
    return this.categories.length + 1;
  }

  /** @returns numbers [n], 0 … size − 1 */
  encode(names: NameColumn): Int32Array {
    return Int32Array.from(Array.from(names), (name) => (name === null ? 0 : (this.ids.get(name) ?? 0)));
  }

  /** The name of a number; null for 0. @throws DataError for other numbers */
  decode(id: number): string | null {
    if (id === 0) return null;
    const name = this.categories[id - 1];
    if (name === undefined) {
      throw new DataError(`CategoryEncoder.decode: expected a number from 0 to ${this.size - 1}, got ${id}`);
    }
    return name;
  }

  /**
   * A row for each name with a single 1 at its number, for models that are linear in their inputs.
   * @returns [n · size], row by row
   */
  oneHot(names: NameColumn): Float32Array {
    const rows = new Float32Array(names.length * this.size);
    this.encode(names).forEach((id, i) => {
      rows[i * this.size + id] = 1;
    });
    return rows;
  }

  toJSON(): readonly string[] {
    return this.categories;
  }
}

function knownValues(who: string, values: NumberColumn): Float64Array {
  const known = Float64Array.from(values).filter((x) => !Number.isNaN(x));
  if (known.length === 0) {
    throw new DataError(
      `${who}.fit: expected at least one value, got ${values.length} missing ones; leave the column out`,
    );
  }
  const odd = known.find((x) => !Number.isFinite(x));
  if (odd !== undefined)
    throw new DataError(`${who}.fit: expected finite values, or NaN where missing, got ${odd}`);
  return known;
}

function checkGroups(values: NumberColumn, groups?: NameColumn): void {
  if (groups !== undefined && groups.length !== values.length) {
    throw new DataError(
      `MedianImputer: expected a group for each of ${values.length} values, got ${groups.length}`,
    );
  }
}

function medianOf(values: ArrayLike<number>): number {
  return percentile(Float64Array.from(values).sort(), 0.5);
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
