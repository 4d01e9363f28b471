/** Node only. A bar while a model's files are downloaded and loaded. */
import cliProgress from 'cli-progress';
import type { PretrainedProgress } from '../models/pretrained.js';
import type { ProgressStream } from './progress.js';

/** Files that load faster than anybody can read get no bar. */
const LEAST_BYTES = 50e6;
const BAR_WIDTH = 30;

/**
 * Shows the progress of `loadGPT2`: on a terminal a bar that goes away when it is full, elsewhere a line per download.
 *
 * @example
 * const progress = new LoadProgress();
 * const { model } = await loadGPT2('openai-community/gpt2', { onProgress: progress.update });
 * progress.stop();
 */
export class LoadProgress {
  private bar: cliProgress.SingleBar | undefined;
  private shown = '';

  /** @param stream default standard error, so that what a command prints stays its own */
  constructor(private readonly stream: ProgressStream = process.stderr) {}

  /** To be passed as `onProgress`. */
  readonly update = ({ kind, file, bytes, total }: PretrainedProgress): void => {
    const what = kind === 'download' ? `downloading ${file}` : 'loading';
    const isLarge = kind === 'download' || total >= LEAST_BYTES;
    if (!isLarge) return;
    if (!this.stream.isTTY) {
      if (kind === 'download' && bytes === total)
        this.stream.write(`downloaded ${file}, ${megabytes(total)} MB\n`);
      return;
    }
    if (this.shown !== what) {
      this.stop();
      this.shown = what;
      this.bar = new cliProgress.SingleBar({
        format: `${what} {bar} {percentage} % · {done} of {all} MB`,
        barsize: BAR_WIDTH,
        barCompleteChar: '█',
        barIncompleteChar: '░',
        stream: this.stream,
        clearOnComplete: true,
        gracefulExit: false,
        hideCursor: null,
      });
      this.bar.start(total, bytes, { done: megabytes(bytes), all: megabytes(total) });
    }
    this.bar?.update(bytes, { done: megabytes(bytes), all: megabytes(total) });
    if (bytes === total) this.stop();
  };

  /** Takes the bar away. Call it however loading ends. */
  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.shown = '';
  }
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
