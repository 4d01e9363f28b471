/** How a search looks while it runs: a table that is drawn again on a terminal, lines elsewhere. */
import { clearScreenDown, moveCursor } from 'node:readline';
import type { ProgressStream } from '../train/progress.js';
import type { TuneResult } from '../train/tune.js';
import type { TuneFile } from '../train/tune-file.js';
import type { TuneEvent } from '../train/tune-journal.js';
import { formatMetric, formatTrials } from '../train/tune-report.js';

/** Trials in the table. */
const SHOWN = 8;

export class TuneView {
  private drawn = 0;

  constructor(
    private readonly file: Pick<TuneFile, 'space' | 'metric' | 'mode' | 'trials'>,
    private readonly stream: ProgressStream = process.stdout,
  ) {}

  /** Shows what has happened. */
  update(event: TuneEvent, state: TuneResult): void {
    if (this.stream.isTTY) this.draw(state);
    else this.write(event, state);
  }

  /** Writes a line that stays, above the table. */
  say(line: string): void {
    this.clear();
    this.stream.write(`${line}\n`);
  }

  /** Takes the table away. */
  clear(): void {
    if (this.drawn === 0) return;
    moveCursor(this.stream, 0, -this.drawn);
    clearScreenDown(this.stream);
    this.drawn = 0;
  }

  private draw(state: TuneResult): void {
    const running = state.trials.filter((t) => t.running !== null);
    const done = state.trials.filter((t) => t.running === null).length;
    const head = `${done} of ${this.file.trials} trials at rest, ${state.spent.toLocaleString('en')} steps spent; running: ${
      running.map((t) => `${t.trial} → ${t.running}`).join(', ') || 'none'
    }`;
    // One character less than the line: a table that wraps could not be taken away.
    const room = (this.stream.columns || 80) - 1;
    const lines = [head, ...formatTrials(this.file, state, SHOWN)].map((line) => line.slice(0, room));
    this.clear();
    this.stream.write(`${lines.join('\n')}\n`);
    this.drawn = lines.length;
  }

  private write(event: TuneEvent, state: TuneResult): void {
    if (event.event === 'failed')
      this.stream.write(`trial ${event.trial}: failed before step ${event.budget}: ${event.reason}\n`);
    if (event.event !== 'result') return;
    const isBest = state.history.at(-1)?.best === event.value;
    this.stream.write(
      `trial ${event.trial}: ${this.file.metric} ${formatMetric(event.value)} at step ${event.budget}${isBest ? ', the best so far' : ''}\n`,
    );
  }
}
