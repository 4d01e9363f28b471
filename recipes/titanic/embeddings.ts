/** What the networks have learned of categories: which of them they take for alike. */
import type { Fitted } from './fitting.js';
import { Networks } from './models.js';

/** Cosines between the vectors of a category's names. */
export interface Similarities {
  readonly names: readonly string[];
  /** [names][names], averaged over the networks: one network's vectors are partly those it began with. */
  readonly cosines: readonly (readonly number[])[];
}

/** @returns null for models without vectors, and for features that they lack */
export async function similarities(
  { model, features }: Fitted,
  feature: string,
): Promise<Similarities | null> {
  const column = features.categoryNames.indexOf(feature);
  if (!(model instanceof Networks) || column === -1) return null;
  const { members: M, dim: D } = model.shape;
  const sizes = features.encoders.map(({ size }) => size);
  const total = sizes.reduce((a, b) => a + b, 0);
  const start = sizes.slice(0, column).reduce((a, b) => a + b, 0);
  const values = await model.tables.data();
  const vector = (member: number, id: number) => {
    const row = member * total + start + id;
    return Array.from(values.subarray(row * D, (row + 1) * D), Number);
  };
  const names = features.encoders[column].categories;
  const cosines = names.map((_, i) =>
    names.map((_, j) => {
      let sum = 0;
      for (let m = 0; m < M; m++) sum += cosine(vector(m, i + 1), vector(m, j + 1)) / M;
      return sum;
    }),
  );
  return { names, cosines };
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
