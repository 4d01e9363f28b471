/**
 * Attention of a single query per head, as in decoding: the invocations of a workgroup share the keys of one head, first each
 * with scores of its own keys, then each with some columns of the values. Where a kernel has a row per invocation, one would
 * walk all the keys while the others watch.
 */
import type { KernelTarget } from '../device/types.js';
import {
  type AttentionForm,
  type AttentionText,
  FUNCTIONS,
  keyRange,
  LOWEST,
  outputRow,
  place,
  reader,
  stride,
  vectorsOf,
  writer,
} from './attention-wgsl.js';
import { unrolled } from './loop.js';

/** Keys whose scores are in memory at a time: 4 KiB of the 16 that every adapter has. Barriers are dear on software ones. */
const CHUNK = 1024;

/** Code for d = 0 … n − 1, four of them per turn of a loop: turns cost more than sums, and every line has to be compiled. */
function inSteps(n: number, line: (d: string) => string): string {
  const turns = Math.floor(n / 4) * 4;
  const four = [0, 1, 2, 3].map((c) => line(`d + ${c}u`)).join(' ');
  const rest = Array.from({ length: n - turns }, (_, c) => line(`${turns + c}u`)).join(' ');
  return `${turns > 0 ? `for (var d = 0u; d < ${turns}u; d += 4u) { ${four} }` : ''} ${rest}`;
}

/** Reads q, k and v once; 4·D operations and an exponential per key. */
export function decodeForward({ kind }: Pick<KernelTarget, 'kind'>): (form: AttentionForm) => AttentionText {
  // No fewer than the vectors of a row, at most 32.
  const width = kind === 'gpu' ? 128 : 32;
  return (form) => {
    const [nd, ne] = [vectorsOf(form.D), vectorsOf(form.E)];
    const parts = Math.floor(width / ne);
    const hidden = form.padding ? 'pad[p.pad_offset + batch * p.keys + j] == 0u' : 'false';
    return {
      workgroupSize: width,
      rows: 1,
      declarations: [
        FUNCTIONS,
        reader(form, 'q', form.D),
        reader(form, 'k', form.D),
        reader(form, 'v', form.E),
        writer(form, 'y', form.E),
        `var<workgroup> weights: array<f32, ${CHUNK}>;`,
        `var<workgroup> query: array<vec4f, ${nd}>;`,
        `var<workgroup> lanes: array<f32, ${width}>;`,
        `var<workgroup> sums: array<vec4f, ${width}>;`,
      ].join('\n'),
      body: `
${place(form, 1, 'queries')}
${keyRange(1)}
let column = local % ${ne}u;
let part = local / ${ne}u;
if (local < ${nd}u) { query[local] = read_q(q_base, local); }
workgroupBarrier();
var top = ${LOWEST};
var total = 0.0;
var sum = vec4f();
for (var first = begin; first < end; first += ${CHUNK}u) {
  let count = min(${CHUNK}u, end - first);
  var mine = ${LOWEST};
  for (var i = local; i < count; i += ${width}u) {
    let j = first + i;
    var score = ${LOWEST};
    if (!(${hidden})) {
      let k_at = k_base + j * ${stride(form, 'k', 'step')};
      var dots = vec4f();
      ${inSteps(nd, (d) => `dots += query[${d}] * read_k(k_at, ${d});`)}
      score = dot(dots, vec4f(1.0)) * p.scale;
    }
    weights[i] = score;
    mine = max(mine, score);
  }
  lanes[local] = mine;
  workgroupBarrier();
  var next = top;
  for (var i = 0u; i < ${width}u; i++) { next = max(next, lanes[i]); }
  let shrink = exp_down(top - next);
  top = next;
  total *= shrink;
  for (var i = local; i < count; i += ${width}u) {
    let score = weights[i];
    let weight = select(exp_down(score - top), 0.0, score < -3.3e38);
    weights[i] = weight;
    total += weight;
  }
  workgroupBarrier();
  sum *= shrink;
  if (part < ${parts}u) {
    ${unrolled('i', 'part', 'count', parts, `sum += weights[i] * read_v(v_base + (first + i) * ${stride(form, 'v', 'step')}, column);`)}
  }
  workgroupBarrier();
}
lanes[local] = total;
sums[local] = sum;
workgroupBarrier();
total = 0.0;
for (var i = 0u; i < ${width}u; i++) { total += lanes[i]; }
let any = total != 0.0;
if (local == 0u) {
  lse[batch * p.heads + head] = select(0.0, top + log_f(total), any);
}
if (part == 0u) {
  for (var i = 1u; i < ${parts}u; i++) { sum += sums[i * ${ne}u + column]; }
  let factor = select(select(nan(), 0.0, p.zero_empty != 0u), 1.0 / total, any);
  write_y(${outputRow(form, '0u')}, column, sum * factor);
}`,
    };
  };
}
