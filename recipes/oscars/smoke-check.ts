/** What must hold of a classifier whatever it has learnt. */
import type { Prediction, Predictor } from '../../src/node.js';
import { randomScreenplay } from './screenplay.js';

export interface SmokeResult {
  readonly prediction: Prediction;
  /** What is wrong, in words; none where all is well. */
  readonly issues: readonly string[];
}

/** Beside other documents, sums are taken in another order: as much may that change. */
const ROUNDING = 1e-5;

/** As much of a predictor as is asked. */
export type Judge = Pick<Predictor, 'predict'>;

/**
 * Judges a text in many ways that must not matter.
 *
 * @param again the same model, opened once more
 */
export async function smokeCheck(judge: Judge, text: string, again: Judge): Promise<SmokeResult> {
  const issues: string[] = [];
  const all = async (texts: readonly string[], by: Judge = judge, top = 0): Promise<Prediction[]> => {
    const found: Prediction[] = [];
    const documents = texts.map((t, i) => ({ name: `document ${i}`, text: t }));
    const together = { batchSize: texts.length, batchTokens: Number.POSITIVE_INFINITY, top };
    for await (const prediction of by.predict(documents, together)) found.push(prediction);
    return found;
  };
  const [prediction] = await all([text], judge, 3);
  const p = prediction.probability;
  const expect = (what: string, got: number | undefined, most: number): void => {
    const isSame = got !== undefined && (Object.is(got, p) || Math.abs(got - p) <= most);
    if (!isSame) issues.push(`${what} gives ${got}, not ${p}`);
  };
  if (!(p >= 0 && p <= 1)) issues.push(`the probability is ${p}, not from 0 to 1`);
  if (!prediction.top.every(({ effect }) => Number.isFinite(effect))) {
    issues.push(`the effects of its chunks are ${prediction.top.map(({ effect }) => effect).join(', ')}`);
  }

  expect('a second time', (await all([text], judge, 3))[0]?.probability, 0);
  expect('the model opened again', (await all([text], again, 3))[0]?.probability, 0);
  expect('without explanation', (await all([text]))[0]?.probability, ROUNDING);
  // Beside a longer document it is padded, beside a shorter one it pads.
  const longer = `${randomScreenplay({ seed: 101, scenes: 3 })}\n${text}`;
  const shorter = randomScreenplay({ seed: 102, scenes: 1 });
  expect('beside a longer document', (await all([longer, text]))[1]?.probability, ROUNDING);
  expect('beside a shorter document', (await all([text, shorter]))[0]?.probability, ROUNDING);
  expect('among many', (await all(['', longer, 'One.', text, shorter]))[3]?.probability, ROUNDING);

  const edges = ['', 'A', '\n\n\n', '🎬'.repeat(50), 'x'.repeat(3000)];
  (await all(edges)).forEach(({ probability }, i) => {
    if (!(probability >= 0 && probability <= 1)) {
      issues.push(`of ${JSON.stringify(edges[i].slice(0, 12))} the probability is ${probability}`);
    }
  });
  return { prediction, issues };
}
