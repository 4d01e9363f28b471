import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { LoadProgress } from '../../src/train/load-progress.js';
import type { ProgressStream } from '../../src/train/progress.js';

function screen(isTTY: boolean) {
  let written = '';
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 100 }) as ProgressStream & PassThrough;
  stream.on('data', (chunk) => (written += chunk));
  return { stream, text: () => written };
}

function run(progress: LoadProgress): void {
  for (const bytes of [0, 50e6, 100e6])
    progress.update({ kind: 'download', file: 'model.safetensors', bytes, total: 100e6 });
  progress.update({ kind: 'load', file: 'model.safetensors', bytes: 10, total: 10 });
  progress.update({ kind: 'load', file: 'model.safetensors', bytes: 50e6, total: 100e6 });
  progress.stop();
  progress.stop();
}

it('writes a line per download where there is no terminal', () => {
  const { stream, text } = screen(false);
  run(new LoadProgress(stream));
  expect(text()).toBe('downloaded model.safetensors, 100 MB\n');
});

it('shows a bar on a terminal, and takes it away', () => {
  const { stream, text } = screen(true);
  run(new LoadProgress(stream));
  expect(text()).toContain('downloading model.safetensors ');
  expect(text()).toContain(' of 100 MB');
  expect(text()).toContain('loading ');
});
