import { spawnSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { formatDuration, Progress, type ProgressStream } from '../../src/train/progress.js';

/** A stream that remembers what was written, and a clock that goes where it is told. */
function screen(options: { isTTY: boolean; columns?: number }) {
  const clock = { time: 0 };
  let written = '';
  const stream = Object.assign(new PassThrough(), options) as ProgressStream & PassThrough;
  stream.on('data', (chunk) => (written += chunk));
  return { stream, clock, now: () => clock.time, text: () => written };
}

/** What a terminal shows after these bytes: carriage returns overwrite, cursor codes move and clear. */
function render(bytes: string): string[] {
  const lines = [''];
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal control codes begin with ESC
  for (const [token] of bytes.matchAll(/\x1b\[(\d*)([GK])|\n|[^\x1b\n]+|\x1b./gu)) {
    const last = lines.length - 1;
    if (token === '\n') {
      lines.push('');
      column = 0;
    } else if (/G$/.test(token) && token.startsWith('\x1b')) column = Number(token.slice(2, -1) || 1) - 1;
    else if (token === '\x1b[2K') lines[last] = '';
    else if (token === '\x1b[0K' || token === '\x1b[K') lines[last] = lines[last].slice(0, column);
    else if (token.startsWith('\x1b')) throw new Error(`unexpected control code ${JSON.stringify(token)}`);
    else {
      lines[last] =
        lines[last].slice(0, column).padEnd(column) + token + lines[last].slice(column + token.length);
      column += token.length;
    }
  }
  return lines;
}

describe('Progress on a terminal', () => {
  it('keeps one bar below the lines that are logged', () => {
    const { stream, now, clock, text } = screen({ isTTY: true, columns: 110 });
    const progress = new Progress({ total: 100, label: 'train', stream, now });
    for (let step = 1; step <= 40; step++) {
      clock.time += 500;
      progress.update({ step, loss: 4 - step / 40, tokensPerSecond: 12_345 });
      if (step === 20) progress.log('validation loss 2.5');
    }
    progress.log('It was the whale');
    progress.stop();
    progress.stop();
    expect(render(text())).toEqual([
      'validation loss 2.5',
      'It was the whale',
      `train ${'█'.repeat(12)}${'░'.repeat(18)}  40 % · step 40/100 · loss 3.000 · 12.3k tokens/s · 30 s left`,
      '',
    ]);
  });

  it('says how long it took in the end', () => {
    const { stream, now, clock, text } = screen({ isTTY: true, columns: 80 });
    const progress = new Progress({ total: 10, stream, now });
    clock.time = 65_000;
    progress.update({ step: 10 });
    progress.stop();
    progress.log('done');
    expect(render(text())).toEqual([`${'█'.repeat(30)} 100 % · step 10/10 · took 1 min 05 s`, 'done', '']);
  });

  it('never writes more than a line holds', () => {
    for (const columns of [20, 50, 64, 80]) {
      const { stream, now, text } = screen({ isTTY: true, columns });
      const progress = new Progress({ total: 1000, label: 'training', stream, now });
      progress.update({ step: 999, loss: 1.5, tokensPerSecond: 1e6 });
      progress.stop();
      for (const line of render(text())) expect(line.length).toBeLessThan(columns);
    }
  });

  it('does not keep a process alive that failed before stop', () => {
    const script = `
      import { Progress } from ${JSON.stringify(new URL('../../src/train/progress.ts', import.meta.url).href)};
      process.stdout.isTTY = true;
      new Progress({ total: 10 }).update({ step: 1 });
    `;
    const args = ['--import', 'tsx', '--input-type=module', '-e', script];
    const run = spawnSync(process.execPath, args, { timeout: 20_000, encoding: 'utf8' });
    expect(run.stderr).toBe('');
    expect(run.status).toBe(0);
    expect(run.stdout).toContain('step 0/10');
  }, 30_000);
});

describe('Progress in a file or pipe', () => {
  it('writes a plain line every ten seconds', () => {
    const { stream, now, clock, text } = screen({ isTTY: false });
    const progress = new Progress({ total: 1_000_000, stream, now });
    for (let step = 1; step <= 250; step++) {
      clock.time += 100;
      progress.update({ step, loss: 2, tokensPerSecond: 950 });
    }
    progress.stop();
    expect(text().split('\n')).toEqual([
      '  0 % · step 100/1000000 · loss 2.000 · 950 tokens/s · 27 h 46 min left',
      '  0 % · step 200/1000000 · loss 2.000 · 950 tokens/s · 27 h 46 min left',
      '  0 % · step 250/1000000 · loss 2.000 · 950 tokens/s · 27 h 46 min left',
      '',
    ]);
  });

  it.each([
    [999.4, '999'],
    [999.6, '1.00k'],
    [999_499, '999k'],
    [999_600, '1.00M'],
  ])('a rate of %d tokens per second is %s', (tokensPerSecond, shown) => {
    const { stream, now, text } = screen({ isTTY: false });
    const progress = new Progress({ total: 2, stream, now });
    progress.update({ step: 1, tokensPerSecond });
    progress.stop();
    expect(text()).toContain(`· ${shown} tokens/s`);
  });

  it('writes a plain line every tenth, but not more than one a second', () => {
    const steps = (milliseconds: number) => {
      const { stream, now, clock, text } = screen({ isTTY: false });
      const progress = new Progress({ total: 100, stream, now });
      for (let step = 1; step <= 100; step++) {
        clock.time += milliseconds;
        progress.update({ step });
      }
      progress.stop();
      return [...text().matchAll(/step (\d+)/g)].map(([, step]) => Number(step));
    };
    expect(steps(200)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    expect(steps(30)).toEqual([34, 68, 100]);
    expect(steps(1)).toEqual([100]);
  });

  it('counts on from a resumed step, and leaves the slow first step out of the estimate', () => {
    const { stream, now, clock, text } = screen({ isTTY: false });
    const progress = new Progress({ total: 100, start: 90, label: 'train', stream, now });
    clock.time = 5000;
    progress.update({ step: 91 });
    clock.time = 6000;
    progress.update({ step: 92 });
    progress.log('a line');
    progress.stop();
    expect(text()).toBe('a line\ntrain  92 % · step 92/100 · 8 s left\n');
  });
});

it('formatDuration says it as people do', () => {
  expect([0, 7400, 59_600, 185_000, 7_860_000].map(formatDuration)).toEqual([
    '0 s',
    '7 s',
    '1 min 00 s',
    '3 min 05 s',
    '2 h 11 min',
  ]);
});
