/** Passengers out of a CSV file, each value checked. */
import { z } from 'zod';
import { DataError } from '../../src/index.js';
import { openCsv } from '../../src/node.js';

/** A passenger; null where nobody wrote it down. */
export interface Passenger {
  readonly id: number;
  /** What is to be predicted; null in files to predict for. */
  readonly survived: 0 | 1 | null;
  readonly class: 1 | 2 | 3 | null;
  /** "Family name, Title. Given names" */
  readonly name: string | null;
  readonly sex: 'male' | 'female' | null;
  /** In years, of infants with a fraction. */
  readonly age: number | null;
  /** Siblings and spouses on board. */
  readonly siblings: number | null;
  /** Parents and children on board. */
  readonly parents: number | null;
  /** One ticket may be for several people. */
  readonly ticket: string | null;
  /** Price of the ticket in pounds of 1912. */
  readonly fare: number | null;
  /** Numbers of cabins, each with the letter of its deck. */
  readonly cabin: string | null;
  /** Cherbourg, Queenstown, Southampton. */
  readonly embarked: string | null;
}

const count = (least: number, what: string) =>
  z
    .string()
    .regex(/^\d+$/, { error: what })
    .transform(Number)
    .refine((n) => n >= least, { error: what });
const measure = (what: string) =>
  z
    .string()
    .regex(/^\d*\.?\d+$|^\d+\.$/, { error: what })
    .transform(Number);
const name = z.string();

/** The columns: field, names as other files have them, what may stand in it. Kaggle's name comes first. */
const COLUMNS = {
  id: [['PassengerId'], count(0, 'an integer of at least 0')],
  survived: [
    ['Survived'],
    z.enum(['0', '1'], { error: '0 or 1' }).transform((text): 0 | 1 => (text === '1' ? 1 : 0)),
  ],
  class: [
    ['Pclass', 'Class'],
    z.enum(['1', '2', '3'], { error: '1, 2 or 3' }).transform((text) => Number(text) as 1 | 2 | 3),
  ],
  name: [['Name'], name],
  sex: [['Sex', 'Gender'], z.enum(['male', 'female'], { error: 'male or female' })],
  age: [['Age'], measure('a number of years')],
  siblings: [['SibSp', 'Siblings/Spouses Aboard'], count(0, 'an integer of at least 0')],
  parents: [['Parch', 'Parents/Children Aboard'], count(0, 'an integer of at least 0')],
  ticket: [['Ticket'], name],
  fare: [['Fare'], measure('a price of at least 0')],
  cabin: [['Cabin'], name],
  embarked: [['Embarked'], name],
} as const satisfies Record<keyof Passenger, readonly [readonly string[], z.ZodType]>;
type Field = keyof typeof COLUMNS;

/** Without these there is nothing to learn from; the others may be missing as a whole. */
const NEEDED: readonly Field[] = ['class', 'name', 'sex', 'age'];
const SCHEMA = z.object(
  Object.fromEntries(Object.entries(COLUMNS).map(([field, [, schema]]) => [field, schema.nullable()])) as {
    [F in Field]: z.ZodNullable<(typeof COLUMNS)[F][1]>;
  },
);
const LINE = '(line)';

/**
 * Reads passengers, with Kaggle's names of columns or those of other well-known copies, in any case.
 *
 * @param options.labelled whether every row must say who survived; else the column may be missing
 * @throws DataError naming line, column, what was expected and what was there; and for columns that are missing
 */
export async function readPassengers(
  path: string,
  { labelled }: { labelled: boolean },
): Promise<Passenger[]> {
  const table = await openCsv(path, { lineColumn: LINE });
  const names = columnNames(table.columns);
  const missing = [...NEEDED, ...(labelled ? (['survived'] as const) : [])].filter(
    (field) => !names.has(field),
  );
  if (missing.length > 0) {
    throw new DataError(
      `titanic: expected the columns ${missing.map((field) => COLUMNS[field][0][0]).join(', ')} in ${path}, got ` +
        table.columns.filter((column) => column !== LINE).join(', '),
    );
  }
  const passengers: Passenger[] = [];
  const ids = new Map<number, unknown>();
  for await (const row of table.rows()) {
    const where = (field: Field) =>
      `column ${names.get(field) ?? COLUMNS[field][0][0]} in line ${row[LINE]} of ${path}`;
    const values = Object.fromEntries(
      Object.keys(COLUMNS).map((field) => [field, text(row[names.get(field as Field) ?? ''])]),
    );
    const parsed = SCHEMA.safeParse(values);
    if (!parsed.success) {
      const [{ path: at, message }] = parsed.error.issues;
      const field = at[0] as Field;
      throw new DataError(
        `titanic: expected ${message} or nothing in ${where(field)}, got ${JSON.stringify(values[field])}`,
      );
    }
    if (labelled && parsed.data.survived === null) {
      throw new DataError(`titanic: expected 0 or 1 in ${where('survived')}, got nothing`);
    }
    if (names.has('id') && parsed.data.id === null) {
      throw new DataError(`titanic: expected a number in ${where('id')}, got nothing`);
    }
    // Files without numbers count from 1.
    const id = parsed.data.id ?? passengers.length + 1;
    if (ids.has(id)) {
      throw new DataError(
        `titanic: expected a number of its own in ${where('id')}, got ${id}, which line ${ids.get(id)} has`,
      );
    }
    ids.set(id, row[LINE]);
    passengers.push({ ...parsed.data, id });
  }
  if (passengers.length === 0) throw new DataError(`titanic: expected passengers in ${path}, got none`);
  return passengers;
}

/** The file's own name of each column that it has. */
function columnNames(columns: readonly string[]): Map<Field, string> {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const found = new Map<Field, string>();
  for (const [field, [aliases]] of Object.entries(COLUMNS)) {
    const column = columns.find((own) => aliases.some((alias) => plain(alias) === plain(own)));
    if (column !== undefined) found.set(field as Field, column);
  }
  return found;
}

/** Values without spaces around them; words for "nothing" are nothing. */
function text(value: unknown): string | null {
  const trimmed = typeof value === 'string' ? value.trim() : '';
  return trimmed === '' || /^(na|nan|null|\?)$/i.test(trimmed) ? null : trimmed;
}
