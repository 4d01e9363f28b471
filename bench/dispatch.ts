/**
 * `npm run bench -- dispatch`. CPU time per dispatch in steady state: the device against the same WebGPU calls made by
 * hand, interleaved in one run; the difference is the engine's own share. And what an adapter takes to run a dispatch that
 * does nothing, which bounds what any engine can reach.
 */
import type { Kernel, Program, View } from '../src/device/types.js';
import { openWebGPU } from '../src/device/webgpu/device.js';
import { shaderText } from '../src/device/webgpu/wgsl.js';
import { browserProblem, openPage } from '../test/support/browser.js';
import { type ReplayCost, replayCost } from './replay.js';
import { median, table } from './report.js';

const ROUNDS = 31;
const DISPATCHES = 2048;
const BATCH = 256;

const kernels: Kernel[] = Array.from({ length: 8 }, (_, i) => ({
  key: `bench/add/${i}`,
  bindings: [
    { name: 'a', type: 'f32', access: 'read' },
    { name: 'b', type: 'f32', access: 'read' },
    { name: 'z', type: 'f32', access: 'read_write' },
  ],
  params: [
    { name: 'n', type: 'u32' },
    { name: 'offset_a', type: 'u32' },
    { name: 'offset_b', type: 'u32' },
    { name: 'scale', type: 'f32' },
  ],
  workgroupSize: 64,
  body: `if (index < p.n) { z[index] = a[p.offset_a + index] + p.scale * b[p.offset_b + index] + ${i}.0; }`,
}));

const program: Program<number> = {
  name: 'add',
  host: () => {},
  kernel: ({ inputs: [a, b], outputs: [z], params }) => [
    {
      kernel: kernels[params],
      buffers: [a.buffer, b.buffer, z.buffer],
      params: [z.shape[0], a.offset, b.offset, 0.5],
      workgroups: 1,
    },
  ],
};

export interface DispatchCost {
  readonly name: string;
  /** Median µs per dispatch of the bare API calls, through the device, and of the paired difference. */
  readonly byHand: number;
  readonly device: number;
  readonly own: number;
  /** Bind groups made in all rounds; 0 in the steady state. */
  readonly bindGroups: number;
}

/** Measures an adapter, with immediates and with the uniform ring. */
export async function dispatchCost(adapter: string, rounds = ROUNDS): Promise<DispatchCost[]> {
  return [await measure(adapter, true, rounds), await measure(adapter, false, rounds)];
}

async function measure(adapter: string, immediates: boolean, rounds: number): Promise<DispatchCost> {
  const device = await openWebGPU({
    adapter,
    immediates,
    batchSize: BATCH,
  });
  const { gpu } = device;
  const buffers = Array.from({ length: 24 }, () => device.allocate(256, 'bench'));
  const views = buffers.map(
    (buffer): View => ({ buffer, dtype: 'float32', shape: [64], strides: [1], offset: 0 }),
  );
  const pick = (i: number) => [views[i % 24], views[(5 * i + 1) % 24], views[(7 * i + 2) % 24]];
  const triples = Array.from({ length: DISPATCHES }, (_, i) => pick(i)).map((t, i) =>
    new Set(t).size === 3 ? t : [views[i % 22], views[(i % 22) + 1], views[(i % 22) + 2]],
  );

  const engine = () => {
    for (let i = 0; i < DISPATCHES; i++) {
      const [a, b, z] = triples[i];
      device.execute(program, [a, b], [z], i & 7);
    }
  };

  // The same by hand: pipelines, bind groups and parameters are ready, only the calls are left.
  const layout = gpu.createBindGroupLayout({
    entries: [0, 1, 2].map((binding) => ({
      binding,
      visibility: 4,
      buffer: { type: binding < 2 ? ('read-only-storage' as const) : ('storage' as const) },
    })),
  });
  const uniformLayout = gpu.createBindGroupLayout({
    entries: [{ binding: 0, visibility: 4, buffer: { type: 'uniform', hasDynamicOffset: true } }],
  });
  const pipelineLayout = gpu.createPipelineLayout(
    immediates
      ? { bindGroupLayouts: [layout], immediateSize: 64 }
      : { bindGroupLayouts: [layout, uniformLayout] },
  );
  const pipelines = kernels.map((kernel) =>
    gpu.createComputePipeline({
      layout: pipelineLayout,
      compute: {
        module: gpu.createShaderModule({
          code: shaderText(kernel, { immediates, folded: false, pieces: null }),
        }),
      },
    }),
  );
  const groups = triples.map((triple) =>
    gpu.createBindGroup({
      layout,
      entries: triple.map(({ buffer }, binding) => ({
        binding,
        resource: { buffer: (buffer as unknown as { block: { gpu: GPUBuffer } }).block.gpu },
      })),
    }),
  );
  // As an ArrayBuffer, which is the faster way to hand them over.
  const words = Uint32Array.of(64, 0, 0, 0).buffer;
  const ring = gpu.createBuffer({ size: BATCH * 256, usage: 64 | 8 });
  const ringData = new Uint32Array(BATCH * 64);
  const ringGroup = gpu.createBindGroup({
    layout: uniformLayout,
    entries: [{ binding: 0, resource: { buffer: ring, size: 256 } }],
  });
  const byHand = () => {
    for (let start = 0; start < DISPATCHES; start += BATCH) {
      if (!immediates) gpu.queue.writeBuffer(ring, 0, ringData);
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = start; i < start + BATCH; i++) {
        pass.setPipeline(pipelines[i & 7]);
        pass.setBindGroup(0, groups[i]);
        if (immediates) pass.setImmediates(0, words, 0, 16);
        else pass.setBindGroup(1, ringGroup, [(i - start) * 256]);
        pass.dispatchWorkgroups(1);
      }
      pass.end();
      gpu.queue.submit([encoder.finish()]);
    }
  };

  const timings: Record<'engine' | 'byHand', number[]> = { engine: [], byHand: [] };
  engine();
  await device.synchronize();
  const { bindGroupsCreated } = device.stats();
  for (let round = 0; round < rounds; round++) {
    for (const [name, work] of [
      ['engine', engine],
      ['byHand', byHand],
    ] as const) {
      const started = performance.now();
      work();
      timings[name].push(((performance.now() - started) * 1000) / DISPATCHES);
      await device.synchronize();
    }
  }
  const bindGroups = device.stats().bindGroupsCreated - bindGroupsCreated;
  await device.close();
  return {
    name: immediates ? 'immediates' : 'uniform ring',
    byHand: median([...timings.byHand]),
    device: median([...timings.engine]),
    // Pairs of neighbouring rounds share what else the machine was doing.
    own: median(timings.engine.map((ours, i) => ours - timings.byHand[i])),
    bindGroups,
  };
}

const EMPTY: Kernel = {
  key: 'bench/empty',
  bindings: [{ name: 'z', type: 'f32', access: 'read_write' }],
  params: [{ name: 'n', type: 'u32' }],
  workgroupSize: 64,
  // The condition never holds, but the compiler cannot know.
  body: 'if (p.n == 4294967295u) { z[index] = 0.0; }',
};

/** What the recorder and the driver do with a dispatch whose kernel does nothing. */
export interface EmptyDispatch {
  readonly workgroups: number;
  /** 'chained': all dispatches write one buffer, each waits for the last; 'free': each of 16 in turn. */
  readonly buffers: 'chained' | 'free';
  /** Wall-clock µs per dispatch, from the first call until the device is done. */
  readonly micros: number;
  /** Processor time of all threads for the same. */
  readonly cpuMicros: number;
}

/** Times empty dispatches of few and many workgroups. */
export async function emptyDispatches(adapter: string, rounds = 7): Promise<EmptyDispatch[]> {
  const device = await openWebGPU({ adapter });
  const views = Array.from(
    { length: 16 },
    (): View => ({
      buffer: device.allocate(4 * 64 * 4096, 'bench'),
      dtype: 'float32',
      shape: [64],
      strides: [1],
      offset: 0,
    }),
  );
  const empty: Program<number> = {
    name: 'empty',
    host: () => {},
    kernel: ({ outputs: [z], params }) => [
      { kernel: EMPTY, buffers: [z.buffer], params: [0], workgroups: params },
    ],
  };
  const runs = [1, 8, 64, 512, 4096].flatMap((workgroups) =>
    (['chained', 'free'] as const).map((buffers) => ({
      workgroups,
      buffers,
      times: [] as number[],
      cpu: [] as number[],
    })),
  );
  for (let round = 0; round <= rounds; round++) {
    for (const { workgroups, buffers, times, cpu } of runs) {
      const count = workgroups > 512 ? 64 : 512;
      const before = process.cpuUsage();
      const started = performance.now();
      for (let i = 0; i < count; i++)
        device.execute(empty, [], [views[buffers === 'free' ? i % 16 : 0]], workgroups);
      await device.synchronize();
      // The first round compiles and warms up.
      if (round === 0) continue;
      times.push(((performance.now() - started) * 1000) / count);
      const { user, system } = process.cpuUsage(before);
      cpu.push((user + system) / count);
    }
  }
  await device.close();
  return runs.map(({ workgroups, buffers, times, cpu }) => ({
    workgroups,
    buffers,
    micros: median(times),
    cpuMicros: median(cpu),
  }));
}

/**
 * Replays in this process, with the adapter and with Dawn's null backend, which takes the same calls and has no driver behind
 * them; and, where there is one, in a headless Chromium on SwiftShader. Each alone.
 */
async function replays(adapter: string, rounds: number): Promise<ReplayCost[]> {
  const costs: ReplayCost[] = [];
  for (const name of new Set([adapter, 'null'])) {
    const device = await openWebGPU({ adapter: name });
    const here = await replayCost(device, rounds);
    await device.close();
    costs.push({ ...here, name: `Node.js, ${here.name}` });
  }
  if (browserProblem === null && !adapter.includes('null')) {
    // Isolated pages have a finer clock.
    const { page, close } = await openPage(new URL('./replay-page.ts', import.meta.url), { isolated: true });
    try {
      await page.waitForFunction('globalThis.measureReplay');
      const there = await page.evaluate((n) => globalThis.measureReplay(n), rounds);
      costs.push({ ...there, name: `Chromium, ${there.name}` });
    } finally {
      await close();
    }
  }
  return costs;
}

/** All tables. */
export async function benchDispatch(
  adapter: string,
  smoke: boolean,
): Promise<{ cost: DispatchCost[]; replay: ReplayCost[]; empty: EmptyDispatch[] }> {
  const cost = await dispatchCost(adapter, smoke ? 3 : ROUNDS);
  table(
    'CPU time per recorded dispatch, steady state (µs)',
    ['', 'WebGPU calls by hand', 'through the device', 'our own', 'new bind groups'],
    cost.map((r) => [r.name, ...[r.byHand, r.device, r.own].map((x) => x.toFixed(2)), String(r.bindGroups)]),
  );
  const replay = await replays(adapter, smoke ? 3 : 2 * ROUNDS);
  table(
    'CPU time per replayed dispatch: the captured step of the tiny Transformer, submitting included (µs)',
    ['', 'median', 'least', 'dispatches', 'new bind groups'],
    replay.map((r) => [
      r.name,
      r.micros.toFixed(2),
      r.least.toFixed(2),
      String(r.dispatches),
      String(r.bindGroups),
    ]),
  );
  const empty = await emptyDispatches(adapter, smoke ? 1 : 7);
  table(
    'A dispatch that does nothing, from the call until it is done (µs)',
    ['workgroups of 64', 'one buffer', 'processor time', '16 buffers', 'processor time'],
    [...new Set(empty.map((e) => e.workgroups))].map((workgroups) => [
      String(workgroups),
      ...(['chained', 'free'] as const).flatMap((buffers) => {
        const row = empty.find((e) => e.workgroups === workgroups && e.buffers === buffers)!;
        return [row.micros.toFixed(1), row.cpuMicros.toFixed(1)];
      }),
    ]),
  );
  return { cost, replay, empty };
}
