/**
 * The conformance suite without a test runner: npx tsx scripts/conformance.ts --help
 *
 * Bundled into one file it needs nothing but Node.js, and the package `webgpu` for a GPU; PyTorch's values are then read from
 * ops.json in the folder that $DATA names.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openDevice } from '../src/tensor/default-device.js';
import { conformanceCases, type Golden, oracleCases } from '../test/conformance.js';
import { opInfo } from '../test/op-info.js';
import { runAll, total } from '../test/support/run-all.js';

const HELP = `npx tsx scripts/conformance.ts [--device cpu|webgpu] [--adapter NAME] [--op NAME]...

Checks every operation on a device against the float64 reference, and the reference against finite differences and
PyTorch's values. Without --device: the best GPU, else the CPU device.

  --op NAME         only this operation; may be repeated
  --device-only     leave out the checks of the reference itself
  --concurrency N   cases under way at once (default 64)`;

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string' },
    adapter: { type: 'string' },
    op: { type: 'string', multiple: true },
    'device-only': { type: 'boolean' },
    concurrency: { type: 'string', default: '64' },
    help: { type: 'boolean', short: 'h' },
  },
});

/** PyTorch's values, beside this script's sources or under $DATA. */
function readGolden(): Golden {
  const places = [fileURLToPath(new URL('../test/golden/ops.json', import.meta.url))];
  if (process.env.DATA) places.unshift(join(process.env.DATA, 'ops.json'));
  const found = places.find((place) => existsSync(place));
  if (!found)
    throw new Error(`conformance: expected PyTorch's values in one of ${places.join(', ')}, got none`);
  return JSON.parse(readFileSync(found, 'utf8')) as Golden;
}

async function main(): Promise<void> {
  const device = await openDevice({
    device: flags.device as 'cpu' | 'webgpu' | undefined,
    adapter: flags.adapter,
    onFallback: (reason) => console.log(`No GPU: ${reason}`),
  });
  console.log(`Device ${device.info.name}, Node ${process.version}`);
  const rows = flags.op ? opInfo.filter((row) => flags.op!.includes(row.name)) : opInfo;
  const cases = conformanceCases(device, rows);
  if (!flags['device-only']) {
    cases.push(...oracleCases(rows, readGolden()).filter((c) => !flags.op || c.group !== 'complete'));
  }

  const started = performance.now();
  const report = await runAll(cases, { concurrency: Number(flags.concurrency) });
  const seconds = (performance.now() - started) / 1000;

  for (const { group, op, name, message } of report.failures)
    console.log(`FAILED ${op}, ${group}: ${name}\n  ${message}`);
  for (const [reason, n] of Object.entries(report.skips)) console.log(`skipped ${n}: ${reason}`);
  const line = (name: string, c: { passed: number; failed: number; skipped: number }): string =>
    [name.padEnd(16), ...[c.passed, c.failed, c.skipped].map((n) => String(n).padStart(8))].join('');
  console.log(`\n${'group'.padEnd(16)}  passed  failed skipped`);
  for (const [group, counts] of Object.entries(report.groups)) console.log(line(group, counts));
  const all = total(report);
  console.log(line('total', all));
  console.log(`${rows.length} operations in ${seconds.toFixed(1)} s`);
  const { pipelines, dispatches, submits } = device.stats();
  console.log(`${dispatches} dispatches, ${pipelines} pipelines, ${submits} submits`);
  await device.close();
  if (all.failed > 0 || all.passed === 0) process.exitCode = 1;
}

if (flags.help) console.log(HELP);
else await main();
