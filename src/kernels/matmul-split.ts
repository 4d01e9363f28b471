/** The second half of a matrix product whose k was split: adds up the parts and finishes the results. */
import type { DeviceBuffer, Dispatch, Kernel } from '../device/types.js';
import { type MatmulJob, partSize, storeSingle, type TextForm } from './matmul-text.js';
import { store } from './pointwise.js';

const WORKGROUP = 64;
const cache = new Map<string, Kernel>();

/** y = epilogue(Σ parts), and the sums behind them. Reads each part once, in order. */
export function combineParts(job: MatmulJob, form: TextForm, partial: DeviceBuffer, parts: number): Dispatch {
  const { layout: l, y, epilogue, sums } = job;
  const single: TextForm = {
    ...form,
    vectors: false,
    residual: form.residual && { ...form.residual, vectors: false },
  };
  const { bias, residual, activation, z } = single;
  const key = `matmul:combine:${form.types[2]}:${bias}:${residual?.type}:${activation?.name}:${z}:${form.sums}`;
  let kernel = cache.get(key);
  if (!kernel) cache.set(key, (kernel = build(key, single)));
  const size = partSize(job);
  const buffers = [partial, y.buffer];
  const params = [l.m, l.n, size, parts, l.entries];
  if (sums) buffers.push(sums.buffer);
  if (bias) {
    buffers.push(epilogue!.bias!.buffer);
    params.push(epilogue!.bias!.offset, epilogue!.biasStep ?? 1);
  }
  if (residual) {
    buffers.push(epilogue!.residual!.buffer);
    params.push(epilogue!.residual!.offset);
  }
  if (z) buffers.push(epilogue!.z!.buffer);
  return { kernel, buffers, params, workgroups: Math.ceil(size / WORKGROUP) };
}

function build(key: string, form: TextForm): Kernel {
  const yType = form.types[2];
  const { bias, residual, activation, z, sums } = form;
  const u32 = (name: string) => ({ name, type: 'u32' }) as const;
  const bindings: Kernel['bindings'][number][] = [
    { name: 'partial', type: 'f32', access: 'read' },
    { name: 'y', type: yType, access: 'read_write' },
  ];
  const params = ['m', 'n', 'size', 'parts', 'entries'].map(u32);
  if (sums) bindings.push({ name: 'sums', type: yType, access: 'read_write' });
  if (bias) {
    bindings.push({ name: 'bias', type: bias, access: 'read' });
    params.push(u32('bias_offset'), u32('bias_step'));
  }
  if (residual) {
    bindings.push({ name: 'residual', type: residual.type, access: 'read' });
    params.push(u32('residual_offset'));
  }
  if (z) bindings.push({ name: 'z', type: z, access: 'read_write' });
  const half = [yType, bias, residual?.type, z].includes('f16');
  return {
    key,
    bindings,
    params,
    workgroupSize: WORKGROUP,
    enables: half ? ['f16'] : undefined,
    declarations: activation
      ? `${activation.declarations ?? ''}\nfn activation(a: f32) -> f32 { return ${activation.wgsl}; }`
      : undefined,
    body: `
if (index >= p.size) { return; }
var total = 0f;
for (var part = 0u; part < p.parts; part++) { total += partial[part * p.size + index]; }
let results = p.entries * p.m * p.n;
${sums ? `if (index >= results && index - results < p.m) { sums[index - results] = ${store(yType, 'total')}; }` : ''}
if (index >= results) { return; }
let entry = index / (p.m * p.n);
let row = index / p.n % p.m;
let col = index % p.n;
${storeSingle(form, 'row', 'col', 'total')}`,
  };
}
