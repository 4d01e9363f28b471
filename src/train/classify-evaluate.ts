/** Node only. Documents judged by a classifier that stands still, and how right it is. */
import type { BinaryLossOptions } from '../models/chunk-classifier.js';
import { prAuc, rocAuc } from './classification-metrics.js';
import type { ClassifyData } from './classify-data.js';
import type { Classifier } from './classifier-run.js';

/** Under this name a frozen encoder keeps the states of a document. */
export const keyOf = (document: number): string => String(document);

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Mean loss of logits as `binaryLoss` has it. */
export function lossOf(
  logits: readonly number[],
  labels: readonly number[],
  { posWeight = 1, focal = 0 }: BinaryLossOptions,
): number {
  const losses = logits.map((x, i) => {
    // −log σ(z) without overflow, where σ(z) is the probability of the right class.
    const z = labels[i] === 1 ? x : -x;
    const loss = Math.max(-z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
    return (labels[i] === 1 ? posWeight : 1) * loss * sigmoid(-z) ** focal;
  });
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}

/**
 * Judges documents in batches of like length.
 *
 * @param documents numbers of the documents
 * @returns logits by number
 */
export async function judgeDocuments(
  classifier: Classifier,
  { tokens }: ClassifyData,
  documents: readonly number[],
  onPredict?: (done: number, total: number) => void,
): Promise<Map<number, number>> {
  const { counts } = tokens;
  const { batchSize } = classifier.config;
  const order = [...documents].sort((a, b) => counts[a] - counts[b] || a - b);
  const logits = new Map<number, number>();
  for (let at = 0; at < order.length; at += batchSize) {
    const some = order.slice(at, at + batchSize);
    const values = await classifier.judge(
      some.map((i) => tokens.tokens(i)),
      some.map(keyOf),
    );
    some.forEach((i, k) => {
      logits.set(i, values[k]);
    });
    onPredict?.(logits.size, order.length);
    // Devices that compute in this thread give signals and timers no turn of their own.
    await new Promise(setImmediate);
  }
  return logits;
}

/** Loss, PR-AUC and ROC-AUC on some documents. */
export async function evaluateDocuments(
  classifier: Classifier,
  data: ClassifyData,
  documents: readonly number[],
  options: BinaryLossOptions,
): Promise<{ validation: number; prAuc: number; rocAuc: number }> {
  const logits = await judgeDocuments(classifier, data, documents);
  const scores = documents.map((i) => logits.get(i)!);
  const labels = documents.map((i) => data.documents[i].label);
  return {
    validation: lossOf(scores, labels, options),
    prAuc: prAuc(scores, labels),
    rocAuc: rocAuc(scores, labels),
  };
}
