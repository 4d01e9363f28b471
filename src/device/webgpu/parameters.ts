/** The parameters of a list of dispatches: words for immediates, and a uniform buffer for those that are too many. */
import type { Pipeline, PipelineCache } from './pipelines.js';

/** Dynamic uniform offsets are multiples of 256 bytes on every adapter. */
const UNIFORM_WORDS = 256 / 4;
const UNIFORM = 64 | 8; // GPUBufferUsage UNIFORM | COPY_DST

/** A growing array of 32-bit words, seen as each of the three parameter types. */
class Words {
  u32 = new Uint32Array(4096);
  i32 = new Int32Array(this.u32.buffer);
  f32 = new Float32Array(this.u32.buffer);
  used = 0;

  take(count: number): number {
    const start = this.used;
    this.used += count;
    if (this.used > this.u32.length) {
      const grown = new Uint32Array(Math.max(this.used, 2 * this.u32.length));
      grown.set(this.u32);
      this.u32 = grown;
      this.i32 = new Int32Array(grown.buffer);
      this.f32 = new Float32Array(grown.buffer);
    }
    return start;
  }
}

export class Parameters {
  private readonly immediates = new Words();
  private readonly uniforms = new Words();
  private buffer: GPUBuffer | null = null;
  /** The buffer with a binding of each size; a dynamic offset chooses the place. */
  private readonly groups = new Map<number, GPUBindGroup>();

  constructor(
    private readonly gpu: GPUDevice,
    private readonly pipelines: PipelineCache,
  ) {}

  /** Stores the parameters of one dispatch; returns their first word. */
  store(pipeline: Pipeline, params: readonly number[], workgroups: number): number {
    const { types, words, immediates } = pipeline;
    if (words === 0) return 0;
    const store = immediates ? this.immediates : this.uniforms;
    const start = store.take(immediates ? words : roundUp(words, UNIFORM_WORDS));
    for (let i = 0; i < types.length; i++) {
      const type = types[i];
      if (type === 0) store.u32[start + i] = params[i];
      else if (type === 1) store.i32[start + i] = params[i];
      else store.f32[start + i] = params[i];
    }
    if (pipeline.folded) store.u32[start + words - 1] = workgroups;
    return start;
  }

  /** Sends what goes through the uniform buffer, all in one write. */
  upload(): void {
    const { used, u32 } = this.uniforms;
    if (used === 0) return;
    if (this.buffer === null || this.buffer.size < used * 4) {
      this.destroy();
      this.buffer = this.gpu.createBuffer({ label: 'parameters', size: u32.byteLength, usage: UNIFORM });
    }
    this.gpu.queue.writeBuffer(this.buffer, 0, u32, 0, used);
  }

  /** Sets the parameters of the next dispatch. */
  set(pass: GPUComputePassEncoder, { words, immediates }: Pipeline, start: number): void {
    if (words === 0) return;
    // Dawn in Node.js takes an ArrayBuffer with places in bytes in half the time that a typed array costs it.
    if (immediates) pass.setImmediates(0, this.immediates.u32.buffer, 4 * start, 4 * words);
    else pass.setBindGroup(1, this.group(words), [start * 4]);
  }

  /** Forgets all parameters; the next ones take their place. */
  clear(): void {
    this.immediates.used = this.uniforms.used = 0;
  }

  destroy(): void {
    this.buffer?.destroy();
    this.buffer = null;
    this.groups.clear();
  }

  private group(words: number): GPUBindGroup {
    const size = roundUp(words, UNIFORM_WORDS) * 4;
    let group = this.groups.get(size);
    if (!group) {
      group = this.gpu.createBindGroup({
        label: 'parameters',
        layout: this.pipelines.uniformLayout(),
        entries: [{ binding: 0, resource: { buffer: this.buffer!, size } }],
      });
      this.groups.set(size, group);
    }
    return group;
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
