/** What can be read out of a passenger's columns. */
import type { Passenger } from './passengers.js';

/** Titles that say the same; French ones, and those of the crown. */
const SAME_TITLES = new Map([
  ['Mlle', 'Miss'],
  ['Ms', 'Miss'],
  ['Mme', 'Mrs'],
  ...['Lady', 'the Countess', 'Countess', 'Dona'].map((title) => [title, 'Mrs'] as const),
  ...['Capt', 'Col', 'Major'].map((title) => [title, 'Officer'] as const),
  ...['Sir', 'Don', 'Jonkheer'].map((title) => [title, 'Mr'] as const),
]);

/** "Braund, Mr. Owen Harris" → "Mr"; null where there is none. */
export function titleOf({ name }: Passenger): string | null {
  // The shortest text between a comma or the beginning and a full stop that looks like a title.
  const title = name?.match(/(?:^|,)\s*([\p{L} ]{2,14}?)\./u)?.[1] ?? null;
  return title === null ? null : (SAME_TITLES.get(title) ?? title);
}

/** "Braund, Mr. Owen Harris" → "Braund"; null without a comma. */
export function familyNameOf({ name }: Passenger): string | null {
  return name?.match(/^([^,]+),/)?.[1].trim() ?? null;
}

/** "C23 C25 C27" → "C"; null where there is none. "F G73" is on deck G: F stands for the section. */
export function deckOf({ cabin }: Passenger): string | null {
  return (
    cabin?.match(/([A-Za-z])\d/)?.[1].toUpperCase() ?? cabin?.match(/[A-Za-z]/)?.[0].toUpperCase() ?? null
  );
}

/** Relatives on board, and oneself. */
export function familySizeOf({ siblings, parents }: Passenger): number {
  return 1 + (siblings ?? 0) + (parents ?? 0);
}
