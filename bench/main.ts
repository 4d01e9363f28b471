/** `npm run bench`: operations, training steps and the cost of a dispatch, as tables. */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { open } from '../src/device/open.js';
import type { Device } from '../src/device/types.js';
import { listAdapters } from '../src/device/webgpu/adapter.js';
import { SMALL } from '../src/train/char-lm.js';
import { dispatchCost } from './dispatch.js';
import { benchOps } from './ops.js';
import { benchStep, TINY } from './step.js';

const HELP = `npm run bench -- [options]

  --device cpu|webgpu|all   default all: the CPU device, and every WebGPU adapter that is found
  --adapter NAME            only this WebGPU adapter
  --only ops|step|dispatch  only these tables
  --json                    machine-readable results on standard output
`;

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string', default: 'all' },
    adapter: { type: 'string' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  console.log(HELP);
  process.exit(0);
}

/** benny prints as it goes; our tables come after. */
async function quietly<T>(fn: () => Promise<T>): Promise<T> {
  const { log } = console;
  console.log = () => {};
  try {
    return await fn();
  } finally {
    console.log = log;
  }
}

function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells: readonly string[]): string =>
    cells.map((c, i) => (i === 0 ? c.padEnd(widths[i]) : c.padStart(widths[i]))).join('  ');
  console.log(`\n${title}\n${line(head)}\n${widths.map((w) => '─'.repeat(w)).join('  ')}`);
  for (const r of rows) console.log(line(r));
}

async function selectors(): Promise<{ device: 'cpu' | 'webgpu'; adapter?: string }[]> {
  if (flags.adapter) return [{ device: 'webgpu', adapter: flags.adapter }];
  const all: { device: 'cpu' | 'webgpu'; adapter?: string }[] = [];
  if (flags.device !== 'webgpu') all.push({ device: 'cpu' });
  if (flags.device !== 'cpu')
    for (const a of await listAdapters()) all.push({ device: 'webgpu', adapter: a.selector });
  return all;
}

async function run(device: Device, adapter: string | undefined): Promise<unknown> {
  const only = flags.only;
  const result: Record<string, unknown> = { device: device.info.name, features: device.info.features };
  console.log(`\n━━ ${device.info.name}`);
  console.log(`   ${device.info.features.join(', ')}`);
  if (!only || only === 'ops') {
    const rows = await quietly(() => benchOps(device));
    result.ops = rows;
    table(
      'Operations (median, each waits for the device)',
      ['', 'ms', 'rate'],
      rows.map((r) => [r.name, r.ms.toFixed(3), r.rate]),
    );
  }
  if (!only || only === 'step') {
    const steps = [
      await benchStep(device, 'tiny: 1 layer, d 64, T 32, B 4, SGD', TINY, 4, 'SGD'),
      await benchStep(
        device,
        'npm start: 2 layers, AdamW',
        { ...SMALL, vocabSize: 81 },
        SMALL.batchSize,
        'AdamW',
      ),
    ];
    result.steps = steps;
    table(
      'Training steps (eager; the loss is read after each)',
      ['', 'ms', 'tokens/s', 'first ms', 'dispatches', 'host µs/dispatch', 'new bind groups', 'peak MiB'],
      steps.map((s) => [
        s.name,
        s.msPerStep.toFixed(2),
        s.tokensPerSecond.toFixed(0),
        s.firstMs.toFixed(0),
        s.dispatches.toFixed(0),
        s.hostMicros.toFixed(1),
        s.bindGroupsPerStep.toFixed(1),
        s.peakMB.toFixed(1),
      ]),
    );
  }
  if (adapter !== undefined && (!only || only === 'dispatch')) {
    const rows = await dispatchCost(adapter);
    result.dispatch = rows;
    table(
      'CPU time per recorded dispatch, steady state (µs)',
      ['', 'WebGPU calls by hand', 'through the device', 'our own'],
      rows.map((r) => [r.name, r.byHand.toFixed(2), r.device.toFixed(2), r.own.toFixed(2)]),
    );
  }
  return result;
}

console.log(
  `dawngrad bench · Node ${process.version} · ${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores`,
);
const results: unknown[] = [];
for (const choice of await selectors()) {
  const device = await open(choice);
  results.push(await run(device, choice.adapter));
  await device.close();
}
if (flags.json) process.stdout.write(`${JSON.stringify(results)}\n`);
