/** What the models see of a passenger. All that is fitted (medians, scales, categories, fates) comes from the training rows. */
import { data } from '../../src/index.js';
import { Companions } from './companions.js';
import type { Passenger } from './passengers.js';
import { deckOf, familySizeOf, titleOf } from './traits.js';

/** 'raw': the columns as they are. 'engineered': with what can be read out of them. */
export type FeatureSet = 'raw' | 'engineered';

/** Passengers as numbers, row by row. */
export interface FeatureTable {
  readonly rows: number;
  /** [rows, numbers], scaled. */
  readonly numbers: Float32Array;
  /** [rows, categories], numbers of categories; 0 is unknown. */
  readonly categories: Int32Array;
}

const missing = (value: number | null): number => value ?? Number.NaN;
const log = (price: number): number => Math.log1p(price);

interface NumberFeature {
  readonly name: string;
  /** NaN where missing. */
  readonly values: (passengers: readonly Passenger[], fates: Companions) => number[];
  /** Missing values take the median of the same title. */
  readonly byTitle?: boolean;
  /** Adds a column that says where the value was missing. */
  readonly flag?: boolean;
}

const each =
  (value: (passenger: Passenger) => number) =>
  (passengers: readonly Passenger[]): number[] =>
    passengers.map(value);
const RAW_NUMBERS: readonly NumberFeature[] = [
  { name: 'age', values: each(({ age }) => missing(age)) },
  { name: 'siblings', values: each(({ siblings }) => missing(siblings)) },
  { name: 'parents', values: each(({ parents }) => missing(parents)) },
  { name: 'fare', values: each(({ fare }) => missing(fare)) },
];
const ENGINEERED_NUMBERS: readonly NumberFeature[] = [
  { name: 'age', values: each(({ age }) => missing(age)), byTitle: true, flag: true },
  { name: 'siblings', values: each(({ siblings }) => missing(siblings)) },
  { name: 'parents', values: each(({ parents }) => missing(parents)) },
  { name: 'family size', values: each((p) => Math.min(familySizeOf(p), 8)) },
  { name: 'alone', values: each((p) => (familySizeOf(p) === 1 ? 1 : 0)) },
  // The fare is that of the ticket: what one paid is its share.
  {
    name: 'fare',
    values: (all, fates) => all.map((p) => log(missing(p.fare) / fates.groupSize(p))),
    flag: true,
  },
  { name: 'ticket group', values: (all, fates) => all.map((p) => Math.min(fates.groupSize(p), 8)) },
  { name: 'fate of women and children', values: (all, fates) => all.map((p) => fates.ofWomenAndChildren(p)) },
  { name: 'fate of men', values: (all, fates) => all.map((p) => fates.ofMen(p)) },
];

type CategoryFeature = readonly [name: string, value: (passenger: Passenger) => string | null];
const RAW_CATEGORIES: readonly CategoryFeature[] = [
  ['sex', ({ sex }) => sex],
  ['class', (p) => (p.class === null ? null : String(p.class))],
  ['embarked', ({ embarked }) => embarked],
];
const ENGINEERED_CATEGORIES: readonly CategoryFeature[] = [
  ...RAW_CATEGORIES,
  ['title', titleOf],
  ['deck', deckOf],
];

/** Rows a category needs to have a number of its own. */
const MIN_COUNT = 5;

interface NumberColumn {
  readonly name: string;
  readonly imputer: data.MedianImputer;
  readonly scaler: data.StandardScaler;
}

/** Features fitted on training passengers. */
export class Features {
  private constructor(
    readonly set: FeatureSet,
    private readonly fates: Companions,
    private readonly columns: readonly NumberColumn[],
    /** The categories' tables, in the order of their columns. */
    readonly encoders: readonly data.CategoryEncoder[],
  ) {}

  /** @param training the only passengers that are looked at, and whose fate is known */
  static fit(training: readonly Passenger[], set: FeatureSet): Features {
    const fates = Companions.of(training);
    const titles = training.map(titleOf);
    const columns = numbersOf(set).map(({ name, values, byTitle }): NumberColumn => {
      const raw = values(training, fates);
      const groups = byTitle ? titles : undefined;
      // A file may lack a column.
      const imputer = raw.every(Number.isNaN)
        ? data.MedianImputer.fit([0])
        : data.MedianImputer.fit(raw, groups);
      return { name, imputer, scaler: data.StandardScaler.fit(imputer.transform(raw, groups)) };
    });
    const encoders = categoriesOf(set).map(([, value]) =>
      data.CategoryEncoder.fit(training.map(value), { minCount: MIN_COUNT }),
    );
    return new Features(set, fates, columns, encoders);
  }

  /** Names of the columns of `numbers`. */
  get numberNames(): string[] {
    return numbersOf(this.set).flatMap(({ name, flag }) => (flag ? [name, `${name} missing`] : [name]));
  }

  /** Names of the columns of `categories`. */
  get categoryNames(): string[] {
    return categoriesOf(this.set).map(([name]) => name);
  }

  transform(passengers: readonly Passenger[]): FeatureTable {
    const titles = passengers.map(titleOf);
    const columns = numbersOf(this.set).flatMap(({ values, byTitle, flag }, i) => {
      const { imputer, scaler } = this.columns[i];
      const raw = values(passengers, this.fates);
      const scaled = scaler.transform(imputer.transform(raw, byTitle ? titles : undefined));
      return flag ? [scaled, data.missingFlags(raw)] : [scaled];
    });
    const ids = categoriesOf(this.set).map(([, value], i) => this.encoders[i].encode(passengers.map(value)));
    return {
      rows: passengers.length,
      numbers: Float32Array.from(interleave(columns)),
      categories: Int32Array.from(interleave(ids)),
    };
  }

  /** All that was fitted, to be looked at. */
  toJSON(): unknown {
    return { set: this.set, numbers: this.columns, categories: this.encoders, companions: this.fates };
  }
}

function numbersOf(set: FeatureSet): readonly NumberFeature[] {
  return set === 'raw' ? RAW_NUMBERS : ENGINEERED_NUMBERS;
}

function categoriesOf(set: FeatureSet): readonly CategoryFeature[] {
  return set === 'raw' ? RAW_CATEGORIES : ENGINEERED_CATEGORIES;
}

/** Columns [k][n] → rows [n, k]. */
function interleave(columns: readonly ArrayLike<number>[]): number[] {
  return Array.from({ length: columns[0].length }, (_, i) => columns.map((column) => column[i])).flat();
}
