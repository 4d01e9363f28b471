/** Node only. A run folder: what one training run leaves behind. */
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../data/atomic-file.js';
import { DataError } from '../device/errors.js';

const CONFIG = 'config.json';
const METRICS = 'metrics.jsonl';

/** One line of `metrics.jsonl`. Numbers that are not finite become null, as JSON has no others. */
export interface MetricsLine {
  /** Number of training steps done. */
  step: number;
  [name: string]: number | string | boolean | null;
}

/** One run in a folder of runs. */
export interface RunListing {
  name: string;
  path: string;
  /** When it was last written to. */
  modified: Date;
}

/**
 * The folder of one training run: `config.json`, `metrics.jsonl` with a line per record, and whatever else the run
 * leaves (checkpoints, curves). Everything but the metrics is written to a temporary file first, so a crash never leaves half
 * a file; of the metrics it can only spoil the last line, which the reader leaves out.
 */
export class RunFolder<Config = unknown> {
  private metricsFile: number | undefined;

  private constructor(
    /** The folder. */
    readonly path: string,
    /** What `config.json` holds. */
    readonly config: Config,
  ) {}

  /**
   * Makes a new run folder, with a name that is not taken yet.
   * @param base the folder of all runs; made if missing
   * @param name the name of the run, to which a number is added where it is taken
   * @param config plain data, written to `config.json`
   */
  static async create<Config>(base: string, name: string, config: Config): Promise<RunFolder<Config>> {
    const path = await uniqueRunFolder(base, name);
    const run = new RunFolder(path, config);
    await run.writeJson(CONFIG, config);
    return run;
  }

  /**
   * Opens an existing run folder.
   * @param path the run's own folder
   * @throws DataError when there is no run, or its configuration is not JSON
   */
  static async open<Config = unknown>(path: string): Promise<RunFolder<Config>> {
    const file = join(path, CONFIG);
    let text: string;
    try {
      text = await readFile(file, 'utf8');
    } catch (cause) {
      const why = existsSync(path) ? `it holds no readable ${CONFIG}` : 'no such folder';
      throw new DataError(`RunFolder.open: expected a run folder, got ${path}: ${why}`, { cause });
    }
    try {
      return new RunFolder<Config>(path, JSON.parse(text));
    } catch (cause) {
      throw new DataError(`RunFolder.open: ${file} is not JSON: ${(cause as Error).message}`, { cause });
    }
  }

  /** The path of a file in this folder. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Appends a line to the metrics; it has left the process when the call returns. */
  appendMetrics(line: MetricsLine): void {
    if (!Number.isSafeInteger(line.step)) {
      throw new DataError(`RunFolder.appendMetrics: expected an integer step, got ${line.step}`);
    }
    try {
      this.metricsFile ??= openSync(this.file(METRICS), 'a');
      writeSync(this.metricsFile, `${JSON.stringify(line)}\n`);
    } catch (cause) {
      throw new DataError(`RunFolder.appendMetrics: ${this.file(METRICS)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /**
   * All complete lines of the metrics. A last line without its end of line was cut off by a crash and is left out.
   * @returns lines in order; none where there is no file yet
   * @throws DataError naming the file and the line, when one in the middle is broken
   */
  async readMetrics(): Promise<MetricsLine[]> {
    const file = this.file(METRICS);
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return '';
      throw new DataError(`RunFolder.readMetrics: ${file}: ${cause.message}`, { cause });
    });
    const lines = text.split('\n').slice(0, -1);
    return lines.map((line, i) => parseLine(line, `${file}:${i + 1}`));
  }

  /**
   * Takes back all metrics beyond a step, and a half-written last line, so that a resumed run appends to what its
   * checkpoint knows.
   * @param step the last step to keep
   */
  async truncateMetrics(step: number): Promise<void> {
    this.close();
    const lines = await this.readMetrics();
    const kept = lines.filter((line) => line.step <= step).map((line) => `${JSON.stringify(line)}\n`);
    if (existsSync(this.file(METRICS))) await this.writeText(METRICS, kept.join(''));
  }

  /** Writes a text file into the folder. */
  async writeText(name: string, text: string): Promise<void> {
    try {
      await writeFileAtomic(this.file(name), [text]);
    } catch (cause) {
      throw new DataError(`RunFolder: cannot write ${this.file(name)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Writes plain data as readable JSON. */
  async writeJson(name: string, value: unknown): Promise<void> {
    await this.writeText(name, `${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Closes the metrics file; the next line opens it again. */
  close(): void {
    if (this.metricsFile !== undefined) closeSync(this.metricsFile);
    this.metricsFile = undefined;
  }
}

/**
 * Makes a folder that did not exist: `base/name`, or `base/name-2`, `base/name-3` …
 * @param base the folder of all runs; made if missing
 * @param name letters, digits, dots, dashes, underscores and spaces
 * @returns its path; two processes never get the same one
 */
export async function uniqueRunFolder(base: string, name: string): Promise<string> {
  if (!/^[\p{L}\p{N}_][\p{L}\p{N}._ -]*$/u.test(name)) {
    throw new DataError(
      `uniqueRunFolder: expected a name of letters, digits, '.', '-', '_' and spaces, got ${JSON.stringify(name)}`,
    );
  }
  try {
    await mkdir(base, { recursive: true });
    for (let number = 1; ; number++) {
      const path = join(base, number === 1 ? name : `${name}-${number}`);
      try {
        await mkdir(path);
        return path;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  } catch (cause) {
    throw new DataError(`uniqueRunFolder: cannot make a folder in ${base}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/**
 * The runs in a folder, the one written to last first.
 * @param base the folder of all runs
 * @returns folders with a `config.json`; none where `base` does not exist
 */
export async function listRuns(base: string): Promise<RunListing[]> {
  const entries = await readdir(base, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw new DataError(`listRuns: ${base}: ${cause.message}`, { cause });
  });
  const names = entries.map((entry) => entry.name).filter((name) => existsSync(join(base, name, CONFIG)));
  const runs = await Promise.all(
    names.map(async (name) => ({
      name,
      path: join(base, name),
      modified: await lastChange(join(base, name)),
    })),
  );
  return runs.sort((a, b) => b.modified.getTime() - a.modified.getTime() || (a.name < b.name ? -1 : 1));
}

/** A folder's own time only changes with its list of files, so the metrics count too. */
async function lastChange(path: string): Promise<Date> {
  const times = await Promise.all(
    [path, join(path, METRICS)].map((file) =>
      stat(file).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return new Date(Math.max(...times));
}

function parseLine(line: string, where: string): MetricsLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new DataError(`RunFolder.readMetrics: ${where} is not JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (!Number.isSafeInteger((value as MetricsLine | null)?.step)) {
    throw new DataError(
      `RunFolder.readMetrics: ${where}: expected an object with an integer step, got ${line.slice(0, 60)}`,
    );
  }
  return value as MetricsLine;
}
