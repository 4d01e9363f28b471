/** Compiling ahead: which device takes which shader, and that none runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { compilesLate, type FoundAdapter } from '../../src/device/webgpu/adapter.js';
import { CompileAhead, type Compiler } from '../../src/device/webgpu/ahead.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import type { Pipeline, PipelineHost } from '../../src/device/webgpu/pipelines.js';
import { tensor } from '../../src/tensor/factories.js';
import '../../src/index.js';

const kernel = { key: 'k', bindings: [], params: [], workgroupSize: 1, body: '' };
const pipeline = (label: string, more: Partial<Pipeline> = {}): Pipeline =>
  ({ label, kernel, folded: false, pieces: null, ...more }) as Pipeline;

/** A device that notes the names of what it compiles; each takes until `next` is called. */
class Slow {
  readonly ran: string[] = [];
  closed = false;
  /** Takes no time. */
  quick = false;
  private readonly waiting: { resolve: () => void; reject: (reason: Error) => void }[] = [];

  run(name: string): Promise<void> {
    this.ran.push(name);
    if (this.quick) return Promise.resolve();
    return new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  readonly compiler: Compiler = {
    compile: (name) => this.run(name),
    close: async () => {
      this.closed = true;
    },
  };

  /** Ends what it is at. */
  async next(error?: Error): Promise<void> {
    await vi.waitUntil(() => this.waiting.length > 0);
    const { resolve, reject } = this.waiting.shift()!;
    if (error) reject(error);
    else resolve();
  }
}

/** A device that compiles ahead, and a further one. */
class Two {
  readonly here = new Slow();
  readonly further = new Slow();
  readonly open = vi.fn(async () => this.further.compiler);
  readonly ahead = new CompileAhead(1, this.open);
  readonly done: string[] = [];

  /** Asks for shaders of these lengths. */
  ask(lengths: Readonly<Record<string, number>>): Promise<void>[] {
    const all = Object.entries(lengths);
    return all.map(async ([name, length]) => {
      const here = () => this.here.run(name);
      await this.ahead.compile(pipeline(name), { length, among: all.length, here });
      this.done.push(name);
    });
  }
}

describe('compiling ahead', () => {
  it('shares the shaders between the devices, the longest first, each compiled once', async () => {
    const two = new Two();
    two.ask({ first: 1, a: 30, b: 50, c: 20, d: 40, e: 10 });
    await vi.waitUntil(() => two.further.ran.length === 1);
    expect(two.here.ran).toEqual(['first']);
    expect(two.further.ran).toEqual(['b']);
    await two.here.next();
    await two.here.next();
    await vi.waitUntil(() => two.here.ran.length === 3);
    await two.further.next();
    await vi.waitUntil(() => two.further.ran.length === 2);
    expect(two.here.ran).toEqual(['first', 'd', 'a']);
    expect(two.further.ran).toEqual(['b', 'c']);
    expect(two.done).toEqual(['first', 'd', 'b']);
    for (const device of [two.here, two.further, two.here]) await device.next();
    await two.ahead.close();
    expect(two.here.ran.concat(two.further.ran).sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'first']);
    expect(two.done).toHaveLength(6);
    expect(two.further.closed).toBe(true);
    expect(two.open).toHaveBeenCalledOnce();
  });

  it('keeps the further device for a batch that comes soon, and opens one again for others', async () => {
    const two = new Two();
    const batch = async (names: string): Promise<void> => {
      const asked = two.ask(Object.fromEntries([...names].map((name) => [name, 1])));
      await two.further.next();
      await two.further.next();
      await two.here.next();
      await Promise.all(asked);
    };
    await batch('abc');
    await batch('def');
    expect(two.open).toHaveBeenCalledTimes(1);
    await vi.waitUntil(() => two.further.closed, { timeout: 5000 });
    await batch('ghi');
    expect(two.open).toHaveBeenCalledTimes(2);
    expect(two.done.sort().join('')).toBe('abcdefghi');
    await two.ahead.close();
  });

  it('leaves one shader or two to their first dispatch, and those that depend on the sizes of buffers', async () => {
    const two = new Two();
    await Promise.all(two.ask({ a: 1, b: 2 }));
    const here = vi.fn();
    for (const more of [{ folded: true }, { pieces: [2] }]) {
      await two.ahead.compile(pipeline('c', more), { length: 1, among: 9, here });
    }
    expect(two.done).toEqual(['a', 'b']);
    expect(here).not.toHaveBeenCalled();
    expect(two.open).not.toHaveBeenCalled();
  });

  it('opens nothing where shaders are in the cache, and leaves the rest to their first dispatch', async () => {
    vi.useFakeTimers();
    const two = new Two();
    two.here.quick = true;
    await Promise.all(two.ask({ a: 1, b: 5, c: 4, d: 3, e: 2 }));
    await two.ahead.close();
    vi.advanceTimersByTime(10_000);
    vi.useRealTimers();
    expect(two.here.ran).toEqual(['a', 'b']);
    expect(two.open).not.toHaveBeenCalled();
  });

  it('begins nothing more when it is closed', async () => {
    const two = new Two();
    const asked = two.ask({ a: 3, b: 2, c: 1 });
    const closed = two.ahead.close();
    await two.here.next();
    await closed;
    await Promise.all(asked);
    expect(two.here.ran).toEqual(['a']);
  });

  it('compiles all on the device itself where no further one can be opened', async () => {
    const two = new Two();
    two.open.mockRejectedValue(new Error('none left'));
    two.ask({ a: 3, b: 2, c: 1 });
    for (let i = 0; i < 3; i++) await two.here.next();
    await two.ahead.close();
    expect(two.done).toEqual(['a', 'b', 'c']);
  });

  it('goes on where a shader fails', async () => {
    const two = new Two();
    two.ask({ a: 3, b: 2, c: 1 });
    await two.further.next(new Error('b'));
    await vi.waitUntil(() => two.further.ran.length === 2);
    await two.here.next(new Error('a'));
    await two.further.next();
    await two.ahead.close();
    expect(two.done).toEqual(['b', 'a', 'c']);
  });
});

it("is for Mesa's lavapipe while its cache is on, and for no other adapter", () => {
  const found = (name: string) => compilesLate({ name } as FoundAdapter);
  vi.stubEnv('MESA_SHADER_CACHE_DISABLE', undefined);
  expect(found('llvmpipe (LLVM 19.1.7, 256 bits)')).toBe(true);
  expect(found('SwiftShader')).toBe(false);
  expect(found('NVIDIA H200')).toBe(false);
  vi.stubEnv('MESA_SHADER_CACHE_DISABLE', 'true');
  expect(found('llvmpipe (LLVM 19.1.7, 256 bits)')).toBe(false);
  vi.unstubAllEnvs();
});

describe("with devices of Dawn's null backend", () => {
  afterEach(() => vi.restoreAllMocks());

  it('compiles the same shaders, and runs none before all are compiled', async () => {
    const device = await openWebGPU({ adapter: 'null' });
    const further = await openWebGPU({ adapter: 'null' });
    const [mine, others] = [device, further].map(({ gpu }) => vi.spyOn(gpu, 'createComputePipelineAsync'));
    const modules = vi.spyOn(further.gpu, 'createShaderModule');
    const own = vi.spyOn(device.gpu, 'createShaderModule');
    const passes = Object.getPrototypeOf(device.gpu.createCommandEncoder().beginComputePass());
    const [direct, indirect] = (['dispatchWorkgroups', 'dispatchWorkgroupsIndirect'] as const).map((name) =>
      vi.spyOn(passes, name),
    );
    const ahead = new CompileAhead(1, async () => further);
    const { host } = (device as unknown as { pipelines: { host: PipelineHost } }).pipelines;
    const { dispatchNothing } = host;
    // As slow as a driver that compiles.
    const slowly: typeof dispatchNothing = (...args) => dispatchNothing(...args).then(() => sleep(60));
    Object.assign(host, { ahead, dispatchNothing: slowly });
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { device },
    );
    x.matmul(x).add(x).softmax(1).sum().exp();
    await device.synchronize();
    await ahead.close();
    expect(mine.mock.calls.length).toBeGreaterThanOrEqual(5);
    expect(others.mock.calls.length).toBeGreaterThan(0);
    const texts = own.mock.calls.map(([{ code }]) => code);
    for (const [{ code }] of modules.mock.calls) expect(texts).toContain(code);
    expect(direct).toHaveBeenCalledTimes(device.stats().dispatches);
    expect(indirect).toHaveBeenCalledTimes(mine.mock.calls.length);
    expect(Math.max(...indirect.mock.invocationCallOrder)).toBeLessThan(
      Math.min(...direct.mock.invocationCallOrder),
    );
    await device.close();
  });

  it('takes parameters as immediates and through a uniform buffer, and bad shaders as they are', async () => {
    for (const immediates of [true, false]) {
      const further = await openWebGPU({ adapter: 'null', immediates });
      const bindings = [{ name: 'y', type: 'f32', access: 'read_write' }] as const;
      const params = [{ name: 'n', type: 'u32' }] as const;
      const good = { ...kernel, bindings, params, body: 'y[p.n] = 1.0;' };
      await further.compile('good', good);
      await further.compile('again', good);
      expect(further.stats()).toMatchObject({ pipelines: 1 });
      await further.synchronize();
      await further.compile('bad', { ...good, key: 'bad', body: 'y[p.n] = nonsense;' });
      await expect(further.synchronize()).rejects.toThrow('nonsense');
      await further.close();
    }
  });
});
