/** Turns a `Kernel` into the text of a WGSL module. */
import { DeviceError } from '../errors.js';
import type { Kernel } from '../types.js';
import { inPieces, pieceFunctions, pieceName } from './pieces.js';

/** How a kernel's parameters and workgroups reach its shader; part of what a pipeline is specialised on. */
export interface ShaderForm {
  /** Parameters are immediates (push constants) rather than a uniform buffer at @group(1) @binding(0). */
  readonly immediates: boolean;
  /** More workgroups than one dimension holds: they are folded over x and y, with their number as a last parameter. */
  readonly folded: boolean;
  /** How many bindings each buffer takes, and the bytes of all but the last; null where each takes one. */
  readonly pieces: { readonly counts: readonly number[]; readonly bytes: number } | null;
}

/** Most bytes of parameters that WebGPU guarantees as immediates where it has them. */
export const IMMEDIATE_BYTES = 64;

/** Parameters as the shader declares them: the kernel's own, then the workgroup count of the folded form. */
export function paramCount(kernel: Kernel, folded: boolean): number {
  return kernel.params.length + (folded ? 1 : 0);
}

/**
 * The WGSL module of a kernel. The two forms of `group` keep the common case free of any folding arithmetic.
 *
 * @throws DeviceError where the kernel itself is contradictory
 */
export function shaderText(kernel: Kernel, form: ShaderForm): string {
  const lines: string[] = [];
  for (const feature of kernel.enables ?? []) lines.push(`enable ${feature};`);
  const params = kernel.params.map(({ name, type }) => `  ${name}: ${type},`);
  if (form.folded) params.push('  folded_groups: u32,');
  if (params.length > 0) {
    if (form.immediates) lines.push('requires immediate_address_space;');
    lines.push('struct Params {', ...params, '}');
    lines.push(
      form.immediates ? 'var<immediate> p: Params;' : '@group(1) @binding(0) var<uniform> p: Params;',
    );
  }
  const split: string[] = [];
  let slot = 0;
  kernel.bindings.forEach((binding, i) => {
    const { name, type, access } = binding;
    if (type.startsWith('atomic') && access === 'read') {
      throw new DeviceError(`${kernel.key}: expected the atomic binding ${name} to be read_write, got read`);
    }
    const count = form.pieces?.counts[i] ?? 1;
    for (let k = 0; k < count; k++) {
      const piece = count === 1 ? name : pieceName(name, k);
      lines.push(`@group(0) @binding(${slot++}) var<storage, ${access}> ${piece}: array<${type}>;`);
    }
    if (count === 1) return;
    split.push(name);
    lines.push(pieceFunctions(binding, count, form.pieces!.bytes));
  });
  const text = (code: string): string => (split.length === 0 ? code : inPieces(code, split));
  if (kernel.declarations) lines.push(text(kernel.declarations));

  const builtins = [
    '@builtin(workgroup_id) workgroup_id_: vec3u',
    '@builtin(local_invocation_index) local: u32',
  ];
  if (form.folded) builtins.push('@builtin(num_workgroups) num_workgroups_: vec3u');
  if (kernel.enables?.includes('subgroups')) {
    builtins.push('@builtin(subgroup_invocation_id) subgroup_invocation_id: u32');
    builtins.push('@builtin(subgroup_size) subgroup_size: u32');
  }
  lines.push(`@compute @workgroup_size(${kernel.workgroupSize})`, `fn main(${builtins.join(', ')}) {`);
  if (form.folded) {
    lines.push('let group = workgroup_id_.x + workgroup_id_.y * num_workgroups_.x;');
    // Uniform over the workgroup, so barriers may follow.
    lines.push('if (group >= p.folded_groups) { return; }');
  } else {
    lines.push('let group = workgroup_id_.x;');
  }
  lines.push(`let index = group * ${kernel.workgroupSize}u + local;`, text(kernel.body), '}');
  return lines.join('\n');
}

/**
 * How many workgroups in x and y run `workgroups` of them where a dimension takes `limit`: near-equal rows, so that
 * fewer than y are left over.
 */
export function foldWorkgroups(workgroups: number, limit: number): [x: number, y: number] {
  const y = Math.ceil(workgroups / limit);
  return [Math.ceil(workgroups / y), y];
}
