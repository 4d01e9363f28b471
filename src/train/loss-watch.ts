/** Looks at the losses of a run for a learning rate that is too high. */
import { type Finding, finding, nats } from './finding.js';

/** A reading is bad when it lies this far above the start, in nats and as a share … */
const RISE = 0.5;
const RISE_SHARE = 0.1;
/** … or this share above the lowest reading so far, when the run once did better. */
const RELAPSE_SHARE = 0.5;

/** Watches the loss while training, and says once when the learning rate is too high. */
export class LossWatch {
  private lowest = Infinity;
  private bad = 0;
  private said = false;

  /**
   * @param start the untouched model's loss
   * @param peak the highest learning rate of the schedule
   * @param patience bad readings in a row before it speaks
   */
  constructor(
    private start: number,
    private readonly peak: number,
    private readonly patience = 3,
  ) {}

  /** @param loss a mean over some steps */
  push(step: number, loss: number): Finding | null {
    const limit = Math.min(
      this.start + Math.max(RISE, RISE_SHARE * this.start),
      this.lowest + Math.max(1, RELAPSE_SHARE * this.lowest),
    );
    this.bad = !(loss <= limit) ? this.bad + 1 : 0;
    if (loss < this.lowest) this.lowest = loss;
    if (this.bad < this.patience || this.said) return null;
    this.said = true;
    return finding(
      'warning',
      'diverging',
      `expected the loss to fall, got ${nats(loss)} nats at step ${step} after a start at ${nats(this.start)} (lowest ${nats(this.lowest)}): the learning rate ${this.peak} is too high; try ${suggestRate(this.peak)}`,
    );
  }
}

/** What to say when training stops at a loss that is not finite. */
export function explainNotFinite(peak: number, precision: string): Finding {
  return finding(
    'error',
    'loss-not-finite',
    `the learning rate ${peak} is the likely cause; try ${suggestRate(peak)}${precision === 'mixed' ? ", or precision 'float32'" : ''}`,
  );
}

/** A tenth, and never more than what AdamW usually bears. */
function suggestRate(lr: number): number {
  return Number(Math.min(lr / 10, 1e-3).toPrecision(2));
}
