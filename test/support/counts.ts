/** How much is checked, counted from the op table: the figures that the README states. */
import '../../src/index.js';
import { registry, viewRegistry } from '../../src/autograd/op.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { conformanceCases, oracleCases } from '../conformance.js';
import { opInfo } from '../op-info.js';

/** Rows of the README's table: what is counted, and how many there are. */
export function counts(): readonly (readonly [what: string, count: number])[] {
  const oracle = oracleCases(opInfo, {});
  const device = conformanceCases(cpuDevice(), opInfo);
  const of = (cases: readonly { group: string }[], ...groups: string[]): number =>
    cases.filter((c) => groups.includes(c.group)).length;
  return [
    ['operations with kernels for both devices, and gradients where there are any', registry.size],
    ['views, which only look at memory in another way', viewRegistry.size],
    ['gradient checks in float64: first order', of(oracle, 'gradcheck')],
    ['gradient checks in float64: second order', of(oracle, 'gradgradcheck')],
    ['golden cases: values and gradients computed by PyTorch', of(oracle, 'golden')],
    ['conformance cases on each device', device.length],
    ['· results against the float64 oracle, by dtype', of(device, 'forward')],
    ['· transposed and strided inputs', of(device, 'layout')],
    ['· gradients, with all inputs and with each subset frozen', of(device, 'gradient', 'frozen')],
    ['· error messages, word for word', of(device, 'error')],
  ];
}

const START = '<!-- counts: npm run counts -- --write -->';
const END = '<!-- /counts -->';

/** The README with its table of counts made anew. @throws Error where the marks are missing */
export function withCounts(readme: string): string {
  const [from, to] = [readme.indexOf(START), readme.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`README.md: expected the marks ${START} and ${END}`);
  const rows = counts().map(([what, n]) => `| ${what} | ${n.toLocaleString('en')} |`);
  const table = ['| what | count |', '|---|---:|', ...rows].join('\n');
  return `${readme.slice(0, from)}${START}\n${table}\n${readme.slice(to)}`;
}
