/** Compiling ahead: which shaders further devices take, and when they stop. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { compilesLate, type FoundAdapter } from '../../src/device/webgpu/adapter.js';
import { CompileAhead, type Compiler } from '../../src/device/webgpu/ahead.js';
import { openWebGPU } from '../../src/device/webgpu/device.js';
import type { Pipeline } from '../../src/device/webgpu/pipelines.js';
import { tensor } from '../../src/tensor/factories.js';
import '../../src/index.js';

const kernel = { key: 'k', bindings: [], params: [], workgroupSize: 1, body: '' };
const pipeline = (label: string, more: Partial<Pipeline> = {}): Pipeline =>
  ({ label, kernel, folded: false, pieces: null, ...more }) as Pipeline;

/** A compiler that notes the names of what it compiles; each takes until `next` is called. */
class Slow {
  readonly ran: string[] = [];
  closed = false;
  private readonly waiting: (() => void)[] = [];
  readonly compiler: Compiler = {
    compile: (name) => {
      this.ran.push(name);
      return new Promise<void>((resolve) => this.waiting.push(resolve));
    },
    close: async () => {
      this.closed = true;
    },
  };

  /** Ends what it is at. */
  async next(): Promise<void> {
    await vi.waitUntil(() => this.waiting.length > 0);
    this.waiting.shift()!();
  }
}

function setUp(names: readonly string[]): {
  slow: Slow;
  ahead: CompileAhead;
  open: ReturnType<typeof vi.fn>;
} {
  const slow = new Slow();
  const open = vi.fn(async () => slow.compiler);
  const ahead = new CompileAhead(1, open);
  for (const name of names) ahead.add(pipeline(name));
  return { slow, ahead, open };
}

const never = () => new Promise<void>(() => {});

describe('compiling ahead', () => {
  it('takes the last shader first, then the one before, until the first', async () => {
    const { slow, ahead } = setUp(['a', 'b', 'c']);
    ahead.submitted(never);
    for (let i = 0; i < 3; i++) await slow.next();
    await ahead.close();
    expect(slow.ran).toEqual(['c', 'b', 'a']);
    expect(slow.closed).toBe(true);
  });

  it('stops when the device has run the batch', async () => {
    const { slow, ahead } = setUp(['a', 'b', 'c', 'd']);
    let done = () => {};
    ahead.submitted(() => new Promise<void>((resolve) => (done = resolve)));
    await vi.waitUntil(() => slow.ran.length === 1);
    done();
    await slow.next();
    await ahead.close();
    expect(slow.ran).toEqual(['d']);
    expect(slow.closed).toBe(true);
  });

  it('leaves what the next batch brings to the next devices', async () => {
    const { slow, ahead, open } = setUp(['a', 'b', 'c']);
    ahead.submitted(async () => {});
    for (const name of ['d', 'e', 'f']) ahead.add(pipeline(name));
    ahead.start();
    ahead.start();
    ahead.submitted(never);
    await vi.waitUntil(() => slow.ran.includes('f'));
    expect(open).toHaveBeenCalledTimes(2);
    expect(slow.ran.filter((name) => name > 'c')).toEqual(['f']);
  });

  it('opens nothing for one shader or two, and leaves those alone that depend on the sizes of buffers', () => {
    const { ahead, open } = setUp(['a']);
    const twice = pipeline('b');
    ahead.add(twice);
    ahead.add(twice);
    ahead.add(pipeline('c', { folded: true }));
    ahead.add(pipeline('d', { pieces: [2] }));
    ahead.start();
    ahead.submitted(never);
    expect(open).not.toHaveBeenCalled();
  });

  it('does without where no further device can be opened', async () => {
    const { ahead, open } = setUp(['a', 'b', 'c']);
    open.mockRejectedValue(new Error('none left'));
    ahead.submitted(never);
    await ahead.close();
    expect(open).toHaveBeenCalledOnce();
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

  it('compiles the same shaders, and runs none', async () => {
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
    Object.assign((device as unknown as { recorder: { host: object } }).recorder.host, { ahead });
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
    expect(indirect).toHaveBeenCalledTimes(others.mock.calls.length);
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
