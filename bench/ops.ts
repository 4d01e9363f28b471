/** `npm run bench -- ops`: operations as rates, and as shares of what the device can do. */
import type { Device } from '../src/device/types.js';
import { type Ceilings, measureCeilings } from './ceilings.js';
import { secondsPerCall } from './measure.js';
import { catalog } from './ops-catalog.js';
import type { Options } from './options.js';
import { digits, table } from './report.js';

export interface OpRow {
  readonly name: string;
  readonly micros: number;
  readonly gflops: number | null;
  readonly gbs: number | null;
  /** Of the ceiling that goes with it: arithmetic, or copying. */
  readonly share: number;
}

export async function benchOps(
  device: Device,
  options: Options,
): Promise<{ ceilings: Ceilings; rows: OpRow[] }> {
  const smoke = options.seconds < 0.02;
  const size = smoke ? 2 ** 16 : device.info.software === false ? 2 ** 28 : 2 ** 25;
  const ceilings = await measureCeilings(device, options.seconds, size);
  const rows: OpRow[] = [];
  for (const bench of catalog(smoke ? 'smoke' : 'full', options.large)) {
    if (options.only && !options.only.test(bench.name)) continue;
    const { call, release } = bench.prepare(device);
    const seconds = await secondsPerCall(device, bench.name, call, options.seconds);
    release();
    const gflops = bench.flop ? bench.flop / seconds / 1e9 : null;
    const gbs = bench.bytes ? bench.bytes / seconds / 1e9 : null;
    const share = gflops === null ? gbs! / ceilings.copyGBs : gflops / ceilings.gflops;
    rows.push({ name: bench.name, micros: seconds * 1e6, gflops, gbs, share });
  }
  const fma = ceilings.fmaGflops === null ? '' : `multiply-adds ${digits(ceilings.fmaGflops)} GFLOP/s, `;
  table(
    'Operations (median; each batch of calls ends with one wait for the device)',
    ['', 'µs', 'rate', 'of ceiling'],
    rows.map((r) => [
      r.name,
      digits(r.micros),
      r.gflops === null ? `${digits(r.gbs!)} GB/s` : `${digits(r.gflops)} GFLOP/s`,
      `${(r.share * 100).toFixed(0)} %`,
    ]),
    [
      `Ceilings: copy of ${ceilings.copyBytes / 2 ** 20} MiB ${digits(ceilings.copyGBs)} GB/s, ${fma}best matmul ${digits(ceilings.matmulGflops)} GFLOP/s.`,
      'Small inputs stay in the caches and may exceed the copy bandwidth.',
    ],
  );
  return { ceilings, rows };
}
