/** What a profile has found: rows by kernel, the host's time by part, as a table and as a trace. */
import type { HostPart, Phase } from '../device/tracing.js';
import type { DeviceInfo, ProfiledDispatch, Profiling } from '../device/types.js';

/** A stretch of the host's time, in ms. */
export interface HostSpan {
  readonly part: HostPart;
  readonly start: number;
  readonly duration: number;
  /** Without what other parts took in it. */
  readonly self: number;
}

/** One run of the step, in ms on the clock of performance.now(). */
export interface ProfiledStep {
  readonly start: number;
  readonly duration: number;
  readonly dispatches: readonly ProfiledDispatch[];
  readonly spans: readonly HostSpan[];
}

/** All dispatches of one kernel by one operation in one part of the step. */
export interface ProfileRow {
  readonly op: string;
  /** The kernel's key; on the CPU device `simd` or `host`. */
  readonly kernel: string;
  readonly phase: Phase;
  /** Dispatches per step. */
  readonly dispatches: number;
  /** µs per step: the median of the steps. */
  readonly micros: number;
  /** µs of one dispatch: the median of all. */
  readonly medianMicros: number;
  /** Of the time of all rows, 0 to 1. */
  readonly share: number;
  /** Bytes read and written, per step. */
  readonly bytes: number;
  /** Arithmetic operations, per step. */
  readonly operations: number;
  /** NaN where no time was seen. */
  readonly gbPerSecond: number;
  readonly gflops: number;
}

/** What `profile` returns. */
export class ProfileReport {
  /** The kernels, those that take most time first. */
  readonly rows: readonly ProfileRow[];
  /** µs per step that the host spends in each part itself: medians of steps that ran as they are. */
  readonly host: Readonly<Partial<Record<HostPart, number>>>;
  /** Of a step that runs as it is, in µs: the median. */
  readonly stepMicros: number;
  /** Of the work on the device in a step, in µs: the sum of the rows. */
  readonly deviceMicros: number;
  readonly dispatches: number;

  /** @internal */
  constructor(
    readonly device: DeviceInfo,
    /** How dispatches were timed. Wall-clock times of a GPU include submitting each dispatch and waiting for it. */
    readonly clock: Profiling['clock'],
    plain: readonly ProfiledStep[],
    private readonly steps: readonly ProfiledStep[],
  ) {
    this.rows = rowsOf(steps);
    this.host = hostOf(plain);
    this.stepMicros = 1000 * median(plain.map((s) => s.duration));
    this.deviceMicros = sum(this.rows.map((row) => row.micros));
    this.dispatches = sum(this.rows.map((row) => row.dispatches));
  }

  /** The report as text: the rows that take most time, totals, the host's parts. */
  table({ rows: limit = 20 }: { readonly rows?: number } = {}): string {
    const { device, clock, steps } = this;
    const shown = this.rows.slice(0, limit);
    const rest = this.rows.slice(limit);
    const lines = shown.map((row) => [
      row.op,
      shorten(row.kernel),
      row.phase,
      String(Math.round(row.dispatches)),
      figures(row.micros),
      `${(100 * row.share).toFixed(1)} %`,
      figures(row.medianMicros),
      figures(row.bytes / 1000),
      figures(row.gbPerSecond),
      figures(row.gflops),
    ]);
    const total = (rows: readonly ProfileRow[], name: string): string[] => {
      const [micros, bytes, operations] = (['micros', 'bytes', 'operations'] as const).map((key) =>
        sum(rows.map((row) => row[key])),
      );
      const share = this.deviceMicros > 0 ? micros / this.deviceMicros : 0;
      const count = String(Math.round(sum(rows.map((row) => row.dispatches))));
      const rates = [figures(rate(bytes, micros)), figures(rate(operations, micros))];
      return [
        name,
        '',
        '',
        count,
        figures(micros),
        `${(100 * share).toFixed(1)} %`,
        '',
        figures(bytes / 1000),
        ...rates,
      ];
    };
    if (rest.length > 0) lines.push(total(rest, `${rest.length} more`));
    lines.push(total(this.rows, 'all'));
    const head = ['op', 'kernel', 'part', 'count', 'µs', 'share', 'median', 'kB', 'GB/s', 'GFLOP/s'];
    const host = Object.entries(this.host).map(([part, micros]) => `${part} ${figures(micros)}`);
    const how =
      clock === 'wall clock' && device.kind === 'webgpu' ? `${clock}, dispatches run one by one` : clock;
    return [
      `${device.name}, ${steps.length} steps, times from the ${how}`,
      align([head, ...lines], 3),
      `a step takes ${figures(this.stepMicros)} µs when it is not profiled; of these the host, in µs: ${host.join(', ')}`,
    ].join('\n');
  }

  /**
   * The profiled steps in Chrome's Trace Event Format, as JSON: a row for the device and one for the host, in
   * chrome://tracing or ui.perfetto.dev.
   */
  chromeTrace(): string {
    const { device, clock, steps } = this;
    const name = (what: string, tid: number, text: string) => ({
      name: what,
      ph: 'M',
      pid: 1,
      tid,
      args: { name: text },
    });
    const events: unknown[] = [
      name('process_name', HOST, 'dawngrad'),
      name('thread_name', HOST, 'host'),
      name('thread_name', DEVICE, device.name),
    ];
    const zero = steps[0].start;
    const event = (
      text: string,
      cat: string,
      tid: number,
      start: number,
      duration: number,
      args: object = {},
    ) => {
      events.push({
        name: text,
        cat,
        ph: 'X',
        pid: 1,
        tid,
        ts: 1000 * (start - zero),
        dur: 1000 * duration,
        args,
      });
    };
    steps.forEach((step, i) => {
      event(`step ${i + 1}`, 'step', HOST, step.start, step.duration);
      for (const { part, start, duration } of step.spans) event(part, 'host', HOST, start, duration);
      for (const { op, kernel, phase, bytes, operations, start, duration } of step.dispatches) {
        event(op, phase, DEVICE, start, duration, { kernel, bytes, operations });
      }
    });
    return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ns', otherData: { clock } });
  }
}

const HOST = 1;
const DEVICE = 2;

function rowsOf(steps: readonly ProfiledStep[]): ProfileRow[] {
  const groups = new Map<string, ProfiledDispatch[][]>();
  steps.forEach(({ dispatches }, i) => {
    for (const d of dispatches) {
      const key = `${d.op}\n${d.kernel}\n${d.phase}`;
      let group = groups.get(key);
      if (!group) groups.set(key, (group = steps.map(() => [])));
      group[i].push(d);
    }
  });
  const rows = [...groups.values()].map((bySteps) => {
    const all = bySteps.flat();
    const { op, kernel, phase } = all[0];
    const micros = 1000 * median(bySteps.map((list) => sum(list.map((d) => d.duration))));
    const bytes = sum(all.map((d) => d.bytes)) / steps.length;
    const operations = sum(all.map((d) => d.operations)) / steps.length;
    return {
      op,
      kernel,
      phase,
      dispatches: all.length / steps.length,
      micros,
      medianMicros: 1000 * median(all.map((d) => d.duration)),
      bytes,
      operations,
      gbPerSecond: rate(bytes, micros),
      gflops: rate(operations, micros),
    };
  });
  const total = sum(rows.map((row) => row.micros));
  return rows
    .map((row) => ({ ...row, share: total > 0 ? row.micros / total : 0 }))
    .sort((a, b) => b.micros - a.micros);
}

function hostOf(steps: readonly ProfiledStep[]): Partial<Record<HostPart, number>> {
  const parts = new Set(steps.flatMap(({ spans }) => spans.map(({ part }) => part)));
  return Object.fromEntries(
    [...parts].map((part) => {
      const own = steps.map(({ spans }) => sum(spans.map((s) => (s.part === part ? s.self : 0))));
      return [part, 1000 * median(own)];
    }),
  );
}

/** 10⁹ per second. */
function rate(count: number, micros: number): number {
  return micros > 0 ? count / micros / 1000 : Number.NaN;
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Three digits, more before the point. */
function figures(value: number): string {
  if (Number.isNaN(value)) return '–';
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** Most characters of a kernel's key in the table. */
const KEY = 40;

function shorten(key: string): string {
  return key.length <= KEY ? key : `${key.slice(0, KEY - 1)}…`;
}

/** Columns side by side: the first ones to the left, the others to the right. */
function align(rows: readonly (readonly string[])[], left: number): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const cell = (text: string, i: number) => (i < left ? text.padEnd(widths[i]) : text.padStart(widths[i]));
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n');
}
