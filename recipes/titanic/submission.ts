/** Predictions as Kaggle takes them. */
import { writeFileAtomic } from '../../src/data/atomic-file.js';
import { DataError } from '../../src/index.js';
import type { Passenger } from './passengers.js';

/**
 * Writes PassengerId,Survived: whole or not at all.
 * @param probabilities of having survived [n]
 */
export async function writeSubmission(
  path: string,
  passengers: readonly Passenger[],
  probabilities: ArrayLike<number>,
): Promise<void> {
  const lines = passengers.map(({ id }, i) => {
    // A comparison with NaN would quietly say that he drowned.
    if (!(probabilities[i] >= 0 && probabilities[i] <= 1)) {
      throw new DataError(`titanic: expected a probability for passenger ${id}, got ${probabilities[i]}`);
    }
    return `${id},${probabilities[i] >= 0.5 ? 1 : 0}\n`;
  });
  await writeFileAtomic(path, ['PassengerId,Survived\n', ...lines]);
}
