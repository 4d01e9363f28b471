/**
 * The kernel laboratory for matrix products: numbered versions, checked against a host product and timed in turn.
 *
 * npx tsx bench/lab/matmul/main.ts --adapter lavapipe [--only 1,2] [--size 512]...
 */
import { parseArgs } from 'node:util';
import { openWebGPU } from '../../../src/device/webgpu/device.js';
import { type Case, caseName, compare } from './harness.js';
import { versions } from './versions.js';

const { values: flags } = parseArgs({
  options: {
    adapter: { type: 'string', default: 'swiftshader' },
    /** Numbers of versions, with commas. */
    only: { type: 'string' },
    /** m,n,k with a T after m or n for operands stored transposed: 512,512T,512 */
    size: { type: 'string', multiple: true },
    ms: { type: 'string', default: '60' },
  },
});

const SIZES = ['64,64,64', '128,64T,64', '256,256,256', '512,512,512', '512,512T,512', '512T,512,512'];

function parseCase(text: string): Case {
  const [m, n, k] = text.split(',');
  const size = (part: string): number => Number(part.replace('T', ''));
  return { m: size(m), n: size(n), k: size(k), aT: m.endsWith('T'), bT: n.endsWith('T') };
}

const device = await openWebGPU({ adapter: flags.adapter });
const numbers = flags.only?.split(',');
const chosen = versions.filter(({ name }) => !numbers || numbers.includes(name.split(':')[0]));
for (const { name, why } of chosen) console.log(`${name.padEnd(28)} ${why}`);
for (const c of (flags.size ?? SIZES).map(parseCase)) {
  console.log(`\n${caseName(c)} on ${device.info.name}`);
  for (const t of await compare(device, chosen, c, { ms: Number(flags.ms) })) {
    console.log(
      `  ${t.version.padEnd(28)} ${t.micros.toFixed(0).padStart(8)} µs ${t.perCpuSecond.toFixed(2).padStart(8)} GFLOP per CPU second`,
    );
  }
}
await device.close();
