/** How good probabilities are. */
import { train } from '../../src/index.js';

/** Share of right answers at probability ½. */
export function accuracy(probabilities: ArrayLike<number>, labels: ArrayLike<number>): number {
  let right = 0;
  for (let i = 0; i < labels.length; i++) if (probabilities[i] >= 0.5 === (labels[i] === 1)) right++;
  return right / labels.length;
}

/** Mean of −ln p of what happened; certainty that was wrong costs 16 nats, not infinitely many. */
export function logLoss(probabilities: ArrayLike<number>, labels: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < labels.length; i++) {
    const p = labels[i] === 1 ? probabilities[i] : 1 - probabilities[i];
    sum -= Math.log(Math.max(p, 1e-7));
  }
  return sum / labels.length;
}

/** The figures, with how they are written. */
export const METRICS = {
  accuracy: { measure: accuracy, title: 'accuracy' },
  rocAuc: { measure: train.rocAuc, title: 'ROC-AUC' },
  logLoss: { measure: logLoss, title: 'log loss' },
} as const;
export type MetricName = keyof typeof METRICS;
export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];
