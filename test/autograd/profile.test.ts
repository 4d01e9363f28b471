/** A profile sees every dispatch of a step once, with what it moves, changes no result, and leaves nothing behind. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { capture } from '../../src/autograd/capture.js';
import { gelu } from '../../src/autograd/ops/activations.js';
import { add } from '../../src/autograd/ops/arithmetic.js';
import { scaledDotProductAttention } from '../../src/autograd/ops/attention.js';
import { ones } from '../../src/autograd/ops/creation.js';
import { linear } from '../../src/autograd/ops/linear.js';
import { mseLoss } from '../../src/autograd/ops/losses.js';
import { matmul } from '../../src/autograd/ops/matmul.js';
import { profile } from '../../src/autograd/profile.js';
import { ProfileReport } from '../../src/autograd/profile-report.js';
import { openCPU } from '../../src/device/cpu/device.js';
import { tracing } from '../../src/device/tracing.js';
import type { Device, Profiling } from '../../src/device/types.js';
import { openWebGPU, type WebGPUDevice } from '../../src/device/webgpu/device.js';
import { plainWait } from '../../src/device/webgpu/quiet-wait.js';
import { DispatchTimes } from '../../src/device/webgpu/timestamps.js';
import { Linear } from '../../src/nn/layers.js';
import { clipGradNorm_ } from '../../src/optim/clip.js';
import { SGD } from '../../src/optim/sgd.js';
import { setDefaultDevice } from '../../src/tensor/default-device.js';
import { memory, scope } from '../../src/tensor/lifetime.js';
import { manualSeed } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { eachDevice, type Place } from '../support/each-device.js';
import { ADAPTER, problem } from '../support/webgpu.js';

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Record<string, unknown>;
}

const events = (report: ProfileReport): TraceEvent[] => JSON.parse(report.chromeTrace()).traceEvents;
const row = (report: ProfileReport, op: string) => report.rows.filter((r) => r.op === op);
const QUICK = { warmup: 1, repeat: 2 };

/** A model, and a step that trains it on the same data. */
function training(place: Place) {
  manualSeed(3);
  const model = new Linear(6, 3);
  if (place.dtype === 'float64') model.to('float64');
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  const values = (n: number) => Array.from({ length: n }, (_, i) => Math.sin(i));
  const x = place.make(values(24), [4, 6]);
  const y = place.make(values(12), [4, 3]);
  const step = (): Tensor => {
    const loss = mseLoss(gelu(model.forward(x)), y);
    loss.backward();
    clipGradNorm_(model.parameters(), 1);
    optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  };
  return { model, step };
}

async function weights(model: Linear): Promise<number[]> {
  const all: number[] = [];
  for (const p of model.parameters()) all.push(...((await p.data()) as Float32Array));
  return all;
}

eachDevice('profile', (place) => {
  const options = () => ({ ...QUICK, device: place.device });
  beforeEach(() => setDefaultDevice(place.device));

  it('lists every dispatch of a step once, by kernel and part', async () => {
    const { step } = training(place);
    scope(step);
    await place.device.synchronize();
    const before = place.device.stats().dispatches;
    scope(step);
    const dispatches = place.device.stats().dispatches - before;
    const report = await profile(step, options());
    expect(report.dispatches).toBe(dispatches);
    const found = events(report).filter(({ args }) => 'bytes' in args);
    expect(found.length).toBe(QUICK.repeat * dispatches);
    const parts = (op: string) => [...new Set(row(report, op).map((r) => r.phase))];
    expect(parts('linear')).toEqual(['forward']);
    expect(parts('linearBackward')).toEqual(['backward']);
    expect(parts('sgd')).toEqual(['optimizer']);
    expect(parts('clipGradNorm')).toEqual(['optimizer']);
    for (const r of report.rows) {
      if (place.device.info.kind === 'cpu') expect(r.kernel).toMatch(/^(simd|host)$/);
      else expect(r.kernel).not.toBe('');
    }
    expect(Object.keys(report.host)).toEqual(expect.arrayContaining(['forward', 'backward', 'optimizer']));
  });

  it('counts bytes and operations', async () => {
    const item = place.dtype === 'float64' ? 8 : 4;
    const a = place.make(new Array(12 * 20).fill(1), [12, 20]);
    const b = place.make(new Array(20 * 8).fill(1), [20, 8]);
    const one = place.make(new Array(8).fill(1), [8]);
    const q = place.make(new Array(2 * 3 * 5 * 4).fill(0.1), [2, 3, 5, 4]);
    const step = () => {
      const y = matmul(a, b);
      // A row of eight, repeated twelve times, is read once.
      add(y, one);
      linear(a, b.transpose(0, 1), one);
      scaledDotProductAttention(q, q, q, { isCausal: true });
    };
    const report = await profile(step, options());
    const total = (op: string, key: 'bytes' | 'operations') =>
      row(report, op).reduce((sum, r) => sum + r[key], 0);
    expect(total('matmul', 'operations')).toBeCloseTo(2 * 12 * 20 * 8, 3);
    expect(total('add', 'bytes')).toBe(item * (96 + 8 + 96));
    expect(total('add', 'operations')).toBe(96);
    expect(total('linear', 'operations')).toBeCloseTo(2 * 12 * 20 * 8, 3);
    // Of 25 pairs a query sees 1 + 2 + … + 5.
    expect(total('attention', 'operations')).toBeCloseTo(2 * 3 * 15 * 4 * 4, 3);
    if (row(report, 'matmul').length === 1) {
      expect(total('matmul', 'bytes')).toBe(item * (12 * 20 + 20 * 8 + 12 * 8));
    }
    for (const r of report.rows) {
      expect(r.micros).toBeGreaterThanOrEqual(0);
      if (r.micros > 0) expect(r.gbPerSecond).toBeCloseTo(r.bytes / r.micros / 1000, 9);
    }
    expect(report.rows.reduce((sum, r) => sum + r.share, 0)).toBeCloseTo(report.deviceMicros > 0 ? 1 : 0, 9);
  });

  it('changes no result, of eager and of captured steps, and leaves nothing behind', async () => {
    const runs = QUICK.warmup + 2 * QUICK.repeat;
    const plain = training(place);
    for (let i = 0; i < runs + 1; i++) scope(plain.step);
    const expected = await weights(plain.model);

    const eager = training(place);
    const eagerReport = await profile(eager.step, options());
    scope(eager.step);
    expect(await weights(eager.model)).toEqual(expected);
    const held = () => ({ tensors: memory.liveTensors, buffers: place.device.memory().liveBuffers });
    const before = held();
    await profile(eager.step, options());
    expect(held()).toEqual(before);

    const captured = training(place);
    const step = capture(captured.step, { device: place.device });
    const report = await profile(step, options());
    expect(report.dispatches).toBe(step.stats.dispatches);
    const kernels = (r: ProfileReport) => r.rows.map((x) => `${x.op} ${x.kernel} ${x.phase}`).sort();
    expect(kernels(report)).toEqual(kernels(eagerReport));
    expect(Object.keys(report.host)).toContain('replay');
    step();
    expect(await weights(captured.model)).toEqual(expected);
    step.release();
  });

  it('writes a trace that Chrome reads, and a table', async () => {
    const { step } = training(place);
    const report = await profile(step, options());
    const all = events(report);
    const spans = all.filter(({ ph }) => ph === 'X');
    expect(all.filter(({ ph }) => ph === 'M').map(({ args }) => args.name)).toEqual([
      'dawngrad',
      'host',
      place.device.info.name,
    ]);
    for (const { name, pid, tid, ts, dur } of spans) {
      expect(typeof name).toBe('string');
      expect(pid).toBe(1);
      expect([1, 2]).toContain(tid);
      expect(Number.isFinite(ts)).toBe(true);
      expect(dur).toBeGreaterThanOrEqual(0);
    }
    expect(all.length).toBe(spans.length + 3);
    const work = spans.filter(({ tid }) => tid === 2);
    for (let i = 1; i < work.length; i++) {
      expect(work[i].ts!).toBeGreaterThanOrEqual(work[i - 1].ts! + work[i - 1].dur! - 1e-3);
    }
    const lines = report.table({ rows: 3 }).split('\n');
    expect(lines[0]).toContain(place.device.info.name);
    expect(lines[0]).toContain(`2 steps, times from the ${report.clock}`);
    expect(lines[1]).toMatch(/^op +kernel +part +count +µs +share +median +kB +GB\/s +GFLOP\/s$/);
    expect(lines.length).toBe(1 + 1 + 3 + 1 + 1 + 1);
    expect(lines[5]).toMatch(new RegExp(`^${report.rows.length - 3} more `));
    expect(lines[6]).toMatch(/^all .*100\.0 %|^all .* 0\.0 %/);
  });

  it('passes errors of the step on, and can be used again', async () => {
    const x = ones([3], { device: place.device, dtype: place.dtype });
    for (const fails of [1, 2, 4]) {
      let runs = 0;
      const step = () => {
        x.mul(2);
        if (++runs === fails) throw new Error('no further');
      };
      await expect(profile(step, options())).rejects.toThrow('no further');
      expect(tracing).toEqual({ phase: 'forward', tracer: null });
    }
    await expect(profile(async () => {}, options())).rejects.toThrow(
      'profile: expected a synchronous step, got one that returns a promise; await before and after it',
    );
    await expect(profile(() => {}, { ...options(), repeat: 0 })).rejects.toThrow(
      'profile: expected whole numbers, warmup of at least 0 and repeat of at least 1, got 1 and 0',
    );
    const first = profile(() => x.mul(2), options());
    await expect(profile(() => x.mul(2), options())).rejects.toThrow(
      'profile: expected one profile at a time, got a second one',
    );
    expect((await first).rows.map((r) => r.op)).toEqual(['mul']);
    expect((await profile(() => {}, options())).rows).toEqual([]);
    x.release();
  });
});

it('the table shows three digits of every figure, of those just below 100 too', async () => {
  const device = openCPU();
  const work = {
    op: 'exp',
    kernel: 'simd',
    phase: 'forward',
    bytes: 1e5,
    operations: 1e5,
    start: 0,
  } as const;
  const shown = (duration: number): string[] => {
    const step = { start: 0, duration, dispatches: [{ ...work, duration }], spans: [] };
    return new ProfileReport(device.info, 'wall clock', [step], [step]).table().split('\n')[2].split(/ +/);
  };
  expect(shown(0.09996)).toEqual([
    'exp',
    'simd',
    'forward',
    '1',
    '100',
    '100.0',
    '%',
    '100',
    '100',
    '1',
    '1',
  ]);
  expect(shown(0.01234).slice(4)).toEqual(['12.3', '100.0', '%', '12.3', '100', '8.1', '8.1']);
  expect(shown(0).slice(4)).toEqual(['0', '0.0', '%', '0', '100', '–', '–']);
  await device.close();
});

describe.skipIf(problem !== null)('on WebGPU', () => {
  let device: WebGPUDevice;
  beforeAll(async () => {
    device = await openWebGPU({ adapter: ADAPTER });
    setDefaultDevice(device);
  });
  afterAll(() => device?.close());

  it('runs dispatches one by one where there are no timestamps', async () => {
    const features = [...device.gpu.features].filter((f) => f !== 'timestamp-query');
    const gpu = new Proxy(device.gpu, {
      get: (target, key) => {
        if (key === 'features') return new Set(features);
        const value = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const profileHere = device.profile;
    Object.assign(device, {
      profile: (): Profiling => {
        const real = device.gpu;
        Object.assign(device, { gpu });
        try {
          return profileHere.call(device);
        } finally {
          Object.assign(device, { gpu: real });
        }
      },
    });
    const x = ones([5], { device });
    const step = capture((t: Tensor) => t.mul(2).add(1).sum());
    const report = await profile(() => step(x), QUICK);
    expect(report.clock).toBe('wall clock');
    expect(report.table()).toContain('times from the wall clock, dispatches run one by one');
    expect(report.rows.map((r) => r.op).sort()).toEqual(['add', 'copy', 'mul', 'sum']);
    for (const r of report.rows) expect(r.micros).toBeGreaterThan(0);
    expect(await step(x).item()).toBe(15);
    const submits = device.stats().submits;
    scope(() => x.mul(2).add(1));
    await device.synchronize();
    expect(device.stats().submits).toBe(submits + 1);
  });

  it('times more dispatches than a set of queries holds', async () => {
    const times = new DispatchTimes(device.gpu, plainWait, 4);
    const encoder = device.gpu.createCommandEncoder();
    const ops = ['a', 'b', 'c', 'd', 'e'];
    for (const op of ops) {
      const work = { op, kernel: 'k', phase: 'forward', bytes: 8, operations: 2 } as const;
      encoder.beginComputePass(times.pass(work)).end();
    }
    encoder.beginComputePass(times.pass(null)).end();
    device.gpu.queue.submit([encoder.finish()]);
    const found = await times.read();
    times.destroy();
    expect(found.map(({ op }) => op)).toEqual(ops);
    expect(found[4]).toMatchObject({ kernel: 'k', bytes: 8, operations: 2 });
    for (const { duration } of found) expect(duration).toBeGreaterThanOrEqual(0);
  });
});

describe('threads of the CPU device', () => {
  it('are timed as one', async () => {
    const device: Device = openCPU({ threads: 2 });
    setDefaultDevice(device);
    const a = ones([256, 256], { device });
    const report = await profile(() => matmul(a, a), QUICK);
    // The factor is one buffer, bound twice.
    expect(report.rows).toMatchObject([
      { op: 'matmul', kernel: 'simd', dispatches: 1, bytes: 2 * 4 * 65536 },
    ]);
    setDefaultDevice(null);
    await device.close();
  });
});
