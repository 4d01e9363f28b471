/** Node only. The journal of a search: a line per event, on the disk before anything follows from it. */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { z } from 'zod';
import { DataError } from '../device/errors.js';

const count = z.number().int().min(0);
const job = { trial: count, rung: count, budget: count };

const EVENT = z.discriminatedUnion('event', [
  /** What decides the search; a search that goes on must be the same. */
  z.object({ event: z.literal('begin'), search: z.json() }),
  z.object({ event: z.literal('resume') }),
  z.object({ event: z.literal('start'), ...job, params: z.record(z.string(), z.json()) }),
  z.object({ event: z.literal('result'), ...job, value: z.number(), seconds: z.number() }),
  z.object({ event: z.literal('failed'), ...job, reason: z.string(), seconds: z.number() }),
  z.object({ event: z.literal('interrupted') }),
  z.object({ event: z.literal('end') }),
]);

/** Something that happened in a search. */
export type TuneEvent = z.output<typeof EVENT>;

/** `tune.jsonl`: only ever appended to. A crash can spoil its last line alone, which is taken back. */
export class TuneJournal {
  private readonly file: number;

  private constructor(
    readonly path: string,
    /** What was there when it was opened. */
    readonly events: readonly TuneEvent[],
  ) {
    this.file = openSync(path, 'a');
  }

  /** @throws DataError naming file and line of what is no event */
  static open(path: string): TuneJournal {
    if (!existsSync(path)) return new TuneJournal(path, []);
    const bytes = readFileSync(path);
    const end = bytes.lastIndexOf(0x0a) + 1;
    if (end < bytes.length) truncateSync(path, end);
    const lines = bytes.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
    return new TuneJournal(
      path,
      lines.map((line, i) => parseEvent(line, `${path}:${i + 1}`)),
    );
  }

  append(event: TuneEvent): void {
    const line = { ...event, time: new Date().toISOString() };
    writeSync(this.file, `${JSON.stringify(line)}\n`);
    fsyncSync(this.file);
  }

  close(): void {
    closeSync(this.file);
  }
}

function parseEvent(line: string, where: string): TuneEvent {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new DataError(`tune: ${where} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = EVENT.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new DataError(`tune: ${where}: expected an event of a search, got ${line.slice(0, 80)}`);
}
