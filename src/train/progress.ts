/** Node only. A progress bar on a terminal; plain lines, now and then, everywhere else. */
import { clearLine, cursorTo } from 'node:readline';
import cliProgress, { type Options } from 'cli-progress';

/** Where progress is written, as much of `process.stdout` as is needed. */
export type ProgressStream = NodeJS.WritableStream & { isTTY?: boolean; columns?: number };

/** What a progress bar is about. */
export interface ProgressOptions {
  /** Steps in all. */
  total: number;
  /** Steps already done, in a resumed run; 0 by default. */
  start?: number;
  /** Before the bar; nothing by default. */
  label?: string;
  /** `process.stdout` by default. */
  stream?: ProgressStream;
  /** Milliseconds; `performance.now` by default. */
  now?: () => number;
}

/** What is known after a step. */
export interface ProgressUpdate {
  /** Steps done. */
  step: number;
  /** The latest training loss, in nats. */
  loss?: number;
  tokensPerSecond?: number;
}

/** Plain lines come after as many milliseconds, or after a tenth of the steps, whichever is first. */
const LINE_MILLISECONDS = 10_000;
const LINE_SHARE = 0.1;
/** But never more often than this, or a short run would be nothing but progress. */
const LINE_PAUSE_MILLISECONDS = 1000;
/** Characters of the bar itself, where the line has room for it. */
const BAR_WIDTH = 30;
/** The remaining time follows the pace of about this many updates. */
const PACE_UPDATES = 20;

/** Shows step, loss, tokens per second and the remaining time of a training run. */
export class Progress {
  private readonly total: number;
  private readonly label: string;
  private readonly stream: ProgressStream;
  private readonly now: () => number;
  private readonly bar: UnrefBar | undefined;
  private readonly startTime: number;
  private state: ProgressUpdate;
  /** Milliseconds per step, known from the second update on. */
  private pace = 0;
  private updates = 0;
  private lastTime: number;
  private lastLine: { step: number; time: number };
  private isStopped = false;

  /** @param options total number of steps, and where and how to show them */
  constructor(options: ProgressOptions) {
    this.total = options.total;
    this.label = options.label ? `${options.label} ` : '';
    this.stream = options.stream ?? process.stdout;
    this.now = options.now ?? (() => performance.now());
    this.state = { step: options.start ?? 0 };
    this.startTime = this.now();
    this.lastTime = this.startTime;
    this.lastLine = { step: this.state.step, time: this.startTime };
    if (this.stream.isTTY) this.bar = this.startBar();
  }

  /** Reports how far the run has come; cheap enough for every step. */
  update(update: ProgressUpdate): void {
    if (this.isStopped) return;
    const time = this.now();
    const steps = update.step - this.state.step;
    if (steps > 0) {
      // The first step also compiles kernels, so its pace says nothing.
      if (this.updates > 0) {
        const pace = (time - this.lastTime) / steps;
        this.pace += (pace - this.pace) / Math.min(this.updates, PACE_UPDATES);
      }
      this.updates++;
      this.lastTime = time;
    }
    this.state = { ...this.state, ...update };
    if (this.bar) this.bar.update(Math.min(update.step, this.total));
    else if (this.isLineDue(time)) this.writeLine(time);
  }

  /** Writes a line above the bar. */
  log(line: string): void {
    if (!this.bar || this.isStopped) {
      this.stream.write(`${line}\n`);
      return;
    }
    cursorTo(this.stream, 0);
    clearLine(this.stream, 0);
    this.stream.write(`${line}\n`);
    this.bar.render();
  }

  /** Leaves the final state on the screen. Call it however the run ends. */
  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    if (this.bar) this.bar.stop();
    else if (this.lastLine.step !== this.state.step) this.writeLine(this.now());
  }

  private startBar(): UnrefBar {
    const options: Options & { terminal: unknown } = {
      // One character less than the line: writing the last one would make some terminals wrap.
      format: (barOptions, { progress }) => {
        const room = (this.stream.columns || 80) - 1;
        const facts = this.facts();
        const barsize = Math.max(0, Math.min(BAR_WIDTH, room - this.label.length - facts.length - 1));
        const bar =
          barsize < 5 ? '' : `${cliProgress.Format.BarFormat(progress, { ...barOptions, barsize })} `;
        return `${this.label}${bar}${facts}`.slice(0, room);
      },
      barsize: BAR_WIDTH,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      fps: 8,
      // After a line was written above it, the bar must come back even if nothing about it has changed.
      forceRedraw: true,
      // The training loop decides what Ctrl-C means.
      gracefulExit: false,
      terminal: terminalOf(this.stream),
    };
    const bar = new UnrefBar(options);
    bar.start(this.total, this.state.step);
    return bar;
  }

  private isLineDue(time: number): boolean {
    const { step } = this.state;
    if (step >= this.total) return step !== this.lastLine.step;
    const waited = time - this.lastLine.time;
    const isShareDone = step - this.lastLine.step >= LINE_SHARE * this.total;
    return waited >= LINE_MILLISECONDS || (isShareDone && waited >= LINE_PAUSE_MILLISECONDS);
  }

  private writeLine(time: number): void {
    this.stream.write(`${this.label}${this.facts()}\n`);
    this.lastLine = { step: this.state.step, time };
  }

  private facts(): string {
    const { step, loss, tokensPerSecond } = this.state;
    const percent = this.total > 0 ? Math.floor((100 * Math.min(step, this.total)) / this.total) : 100;
    const parts = [`${String(percent).padStart(3)} %`, `step ${step}/${this.total}`];
    if (loss !== undefined) parts.push(`loss ${loss.toFixed(3)}`);
    if (tokensPerSecond !== undefined) parts.push(`${formatRate(tokensPerSecond)} tokens/s`);
    if (step >= this.total) parts.push(`took ${formatDuration(this.now() - this.startTime)}`);
    else if (this.updates > 1) parts.push(`${formatDuration(this.pace * (this.total - step))} left`);
    return parts.join(' · ');
  }
}

/**
 * A duration as people say it.
 * @param milliseconds from 0
 * @returns like `7 s`, `3 min 05 s` or `2 h 10 min`
 */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const minutes = Math.floor(seconds / 60);
  const two = (n: number) => String(n).padStart(2, '0');
  if (minutes === 0) return `${seconds} s`;
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

/** Three significant digits or so: 950, 12.3k, 4.56M. */
function formatRate(rate: number): string {
  if (rate < 999.5) return rate.toFixed(0);
  if (rate < 999_500) return `${(rate / 1e3).toPrecision(3)}k`;
  return `${(rate / 1e6).toPrecision(3)}M`;
}

/** cli-progress redraws by a timer, which must not keep a process alive that has failed before `stop`. */
class UnrefBar extends cliProgress.SingleBar {
  override render(): void {
    super.render();
    (this as unknown as { timer: NodeJS.Timeout }).timer.unref();
  }
}

/**
 * What cli-progress asks of a terminal. Its own one saves the cursor's position at the start and returns there at the end,
 * which is many lines too high once `log` has scrolled the screen.
 */
function terminalOf(stream: ProgressStream) {
  return {
    cursorSave() {},
    cursorRestore() {},
    cursor() {},
    lineWrapping() {},
    cursorTo: (x: number) => cursorTo(stream, x),
    clearRight: () => clearLine(stream, 1),
    clearLine: () => clearLine(stream, 0),
    newline: () => stream.write('\n'),
    write: (text: string) => stream.write(text),
    isTTY: () => true,
    getWidth: () => stream.columns || 80,
  };
}
