/** The engines that are compared, and how their processes start. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** An engine that takes longer over one case gives up on it. */
export const PATIENCE_MS = 600_000;

export interface Contender {
  readonly id: string;
  readonly ours: boolean;
  readonly group: 'webgpu' | 'cpu';
  readonly env?: Record<string, string>;
}

export const CONTENDERS: readonly Contender[] = [
  { id: 'dawngrad-webgpu', ours: true, group: 'webgpu' },
  { id: 'jax-webgpu', ours: false, group: 'webgpu' },
  { id: 'tfjs-webgpu', ours: false, group: 'webgpu' },
  { id: 'dawngrad-cpu', ours: true, group: 'cpu' },
  { id: 'dawngrad-cpu-1', ours: true, group: 'cpu', env: { DAWNGRAD_THREADS: '1' } },
  { id: 'jax-wasm', ours: false, group: 'cpu' },
  { id: 'tfjs-wasm', ours: false, group: 'cpu' },
  // Its BLAS counts threads by itself, and a spare one would spin for a tenth of a second into the next engine's turn.
  { id: 'torch', ours: false, group: 'cpu', env: { OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1' } },
];

export const COLUMNS: Record<string, string> = {
  'dawngrad-webgpu': 'dawngrad',
  'jax-webgpu': 'jax-js',
  'tfjs-webgpu': 'TF.js',
  'dawngrad-cpu': 'dawngrad',
  'dawngrad-cpu-1': '1 thread',
  'jax-wasm': 'jax-js',
  'tfjs-wasm': 'TF.js',
  torch: 'PyTorch',
};

export function python(): string | null {
  for (const path of [process.env.PYTHON, '/usr/bin/python3']) {
    if (path && spawnSync(path, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0) return path;
  }
  return null;
}

export function command(
  contender: Contender,
  adapter: string,
  torch: string | null,
): [string, string[]] | null {
  const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  if (contender.id === 'torch') return torch === null ? null : [torch, [file('torch_step.py')]];
  const [module, backend] = contender.id.split('-');
  return [process.execPath, ['--import', 'tsx', file('child.ts'), `${module}-${backend}`, adapter]];
}
