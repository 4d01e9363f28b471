/** Pipelines, their layouts, and the bind groups made for them; each made once and shared. */
import { DeviceError } from '../errors.js';
import { pieceBytes, piecesOf } from '../pieces.js';
import type { Kernel } from '../types.js';
import type { CompileAhead } from './ahead.js';
import type { Faults } from './faults.js';
import type { Block } from './pool.js';
import type { Wait } from './quiet-wait.js';
import { IMMEDIATE_BYTES, paramCount, shaderText } from './wgsl.js';

const COMPUTE = 4; // GPUShaderStage.COMPUTE

/** One level per binding, keyed by block id: integer look-ups cost less than building a string key. */
type GroupTree = Map<number, GroupTree | GPUBindGroup>;

/** The bindings that shaders of one signature share: which are read, which written. */
interface BindLayout {
  /** One letter per binding: r(ead) or w(rite). */
  readonly accesses: string;
  readonly gpu: GPUBindGroupLayout;
  readonly groups: GroupTree;
}

/** A kernel on its way to a GPU pipeline. */
export interface Pipeline {
  readonly label: string;
  readonly kernel: Kernel;
  readonly layout: BindLayout;
  readonly folded: boolean;
  /** How many bindings each buffer takes; null where each takes one. */
  readonly pieces: readonly number[] | null;
  /** Parameters travel as immediates rather than through the uniform ring. */
  readonly immediates: boolean;
  /** 32-bit words of parameters. */
  readonly words: number;
  /** The type of each word of the kernel's own parameters: 0 u32, 1 i32, 2 f32. */
  readonly types: readonly number[];
  /** Null until compiled. */
  gpu: GPUComputePipeline | null;
  failed: boolean;
}

export interface PipelineHost {
  readonly gpu: GPUDevice;
  readonly faults: Faults;
  readonly immediates: boolean;
  /** Most bytes that one binding holds. */
  readonly bindingLimit: number;
  /** Compare the WGSL of equal keys. */
  readonly debug: boolean;
  readonly wait: Wait;
  /** Null where the driver compiles when pipelines are made. */
  readonly ahead: CompileAhead | null;
  /** Has the driver do what it leaves to the first dispatch of a pipeline. */
  dispatchNothing(pipeline: Pipeline, made: GPUComputePipeline): Promise<void>;
  /** Called when nothing compiles any more. */
  ready(): void;
}

/** Bind groups beyond this are dropped all at once: a program that needs more has no steady state to cache. */
const MAX_GROUPS = 32768;
const TYPE_CODE = { u32: 0, i32: 1, f32: 2 } as const;

export class PipelineCache {
  pipelines = 0;
  bindGroupsCreated = 0;
  private groupCount = 0;
  private readonly plain = new Map<string, Pipeline>();
  private readonly folded = new Map<string, Pipeline>();
  /** Pipelines some of whose buffers are bound in pieces. */
  private readonly split = new Map<string, Pipeline>();
  private readonly layouts = new Map<string, BindLayout>();
  private readonly pipelineLayouts = new Map<string, GPUPipelineLayout>();
  private readonly compiling = new Set<Promise<void>>();
  private uniform: GPUBindGroupLayout | null = null;

  constructor(private readonly host: PipelineHost) {}

  /** Whether everything asked for is compiled. */
  get idle(): boolean {
    return this.compiling.size === 0;
  }

  /** Resolves when everything asked for so far is compiled, or has failed and said so. */
  async settled(): Promise<void> {
    await this.host.wait(Promise.all(this.compiling));
  }

  /** The pipeline of a kernel; starts compiling it the first time. */
  get(kernel: Kernel, folded: boolean, blocks: readonly Block[], op: string): Pipeline {
    const pieces = this.pieces(blocks);
    const cache = pieces ? this.split : folded ? this.folded : this.plain;
    const key = pieces ? `${kernel.key} ${folded} ${pieces}` : kernel.key;
    const known = cache.get(key);
    if (known) {
      if (this.host.debug) this.assertSameKernel(known, kernel, op);
      return known;
    }
    const pipeline = this.create(kernel, folded, pieces, op);
    cache.set(key, pipeline);
    return pipeline;
  }

  private pieces(blocks: readonly Block[]): number[] | null {
    const { bindingLimit } = this.host;
    for (let i = 0; i < blocks.length; i++) {
      if (blocks[i].size > bindingLimit) return blocks.map(({ size }) => piecesOf(size, bindingLimit));
    }
    return null;
  }

  private text(kernel: Kernel, form: Pick<Pipeline, 'immediates' | 'folded' | 'pieces'>): string {
    const { pieces } = form;
    const bytes = pieceBytes(this.host.bindingLimit);
    return shaderText(kernel, { ...form, pieces: pieces && { counts: pieces, bytes } });
  }

  private assertSameKernel(known: Pipeline, kernel: Kernel, op: string): void {
    if (known.kernel !== kernel && this.text(known.kernel, known) !== this.text(kernel, known)) {
      throw new DeviceError(
        `${op}: expected equal WGSL for equal kernel keys, got two texts for '${kernel.key}'`,
      );
    }
  }

  /** The bind group of a layout with these blocks. */
  group(pipeline: Pipeline, blocks: readonly Block[]): GPUBindGroup {
    const last = blocks.length - 1;
    let tree = pipeline.layout.groups;
    for (let i = 0; i < last; i++) {
      const id = blocks[i].id;
      let next = tree.get(id) as GroupTree | undefined;
      if (!next) tree.set(id, (next = new Map()));
      tree = next;
    }
    const found = tree.get(blocks[last].id) as GPUBindGroup | undefined;
    if (found) return found;
    const group = this.createGroup(pipeline, blocks);
    if (this.groupCount >= MAX_GROUPS) this.dropGroups();
    else this.remember(pipeline.layout.groups, tree, blocks, group);
    return group;
  }

  /** The layout of @group(1): one uniform buffer with a dynamic offset. */
  uniformLayout(): GPUBindGroupLayout {
    this.uniform ??= this.host.gpu.createBindGroupLayout({
      label: 'parameters',
      entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } }],
    });
    return this.uniform;
  }

  private createGroup(pipeline: Pipeline, blocks: readonly Block[]): GPUBindGroup {
    const { bindings } = pipeline.kernel;
    const writes = (i: number): boolean => bindings[i].access === 'read_write';
    for (let i = 0; i < blocks.length; i++) {
      const j = blocks.indexOf(blocks[i]);
      if (j !== i && (writes(i) || writes(j))) {
        const [a, b] = [bindings[j].name, bindings[i].name];
        throw new DeviceError(
          `${pipeline.label}: expected a buffer of its own for each written binding, got the same for ${a} and ${b}; ` +
            'WebGPU forbids binding one buffer twice when one use writes: copy the input first',
        );
      }
    }
    this.bindGroupsCreated++;
    return this.host.gpu.createBindGroup({
      label: pipeline.label,
      layout: pipeline.layout.gpu,
      entries: blocks
        .flatMap((block, i) => this.resources(block, pipeline.pieces?.[i] ?? 1))
        .map((resource, binding) => ({ binding, resource })),
    });
  }

  /** A block's bindings: itself, or its pieces. */
  private resources({ gpu: buffer, size }: Block, count: number): GPUBufferBinding[] {
    if (count === 1) return [{ buffer }];
    const bytes = pieceBytes(this.host.bindingLimit);
    return Array.from({ length: count }, (_, k) => ({
      buffer,
      offset: k * bytes,
      size: Math.min(bytes, size - k * bytes),
    }));
  }

  /** Stores a group in the tree, and takes it out again when one of its buffers is destroyed. */
  private remember(root: GroupTree, leaf: GroupTree, blocks: readonly Block[], group: GPUBindGroup): void {
    const ids = blocks.map((block) => block.id);
    leaf.set(ids[ids.length - 1], group);
    this.groupCount++;
    const forget = () => {
      if (prune(root, ids, 0)) this.groupCount--;
      for (const block of blocks) block.onDestroy.delete(forget);
    };
    for (const block of blocks) block.onDestroy.add(forget);
  }

  private dropGroups(): void {
    for (const layout of this.layouts.values()) layout.groups.clear();
    this.groupCount = 0;
  }

  private create(kernel: Kernel, folded: boolean, pieces: readonly number[] | null, op: string): Pipeline {
    const { gpu, faults } = this.host;
    const words = paramCount(kernel, folded);
    const immediates = this.host.immediates && words * 4 <= IMMEDIATE_BYTES;
    const label = `${op} [${kernel.key}${folded ? ', folded' : ''}${pieces ? `, in pieces ${pieces}` : ''}]`;
    const limit = gpu.limits.maxStorageBuffersPerShaderStage;
    const accesses = kernel.bindings
      .map(({ access }, i) => (access === 'read' ? 'r' : 'w').repeat(pieces?.[i] ?? 1))
      .join('');
    if (accesses.length > limit) {
      const why = pieces ? `; buffers beyond ${this.host.bindingLimit} bytes take several` : '';
      throw new DeviceError(`${label}: expected at most ${limit} bindings, got ${accesses.length}${why}`);
    }
    const code = this.text(kernel, { immediates, folded, pieces });
    const layout = this.layout(accesses);
    const types = kernel.params.map(({ type }) => TYPE_CODE[type]);
    const pipeline: Pipeline = {
      label,
      kernel,
      layout,
      folded,
      pieces,
      immediates,
      words,
      types,
      gpu: null,
      failed: false,
    };
    this.pipelines++;
    // The pipeline's own error says more; this one must only not reach the uncaptured ones.
    gpu.pushErrorScope('validation');
    const module = gpu.createShaderModule({ label, code });
    gpu.popErrorScope().catch(() => {});
    const compiled = gpu
      .createComputePipelineAsync({
        label,
        layout: this.pipelineLayout(layout, words === 0 ? '' : immediates ? 'i' : 'u'),
        compute: { module, entryPoint: 'main' },
      })
      .then(
        async (made) => {
          const here = () => this.host.dispatchNothing(pipeline, made);
          const among = this.compiling.size;
          await this.host.ahead?.compile(pipeline, { length: code.length, among, here });
          pipeline.gpu = made;
        },
        async (error: unknown) => {
          pipeline.failed = true;
          if (faults.dead === null) faults.note(label, await compileMessage(module, code, error));
        },
      )
      .then(() => {
        this.compiling.delete(compiled);
        if (this.idle) this.host.ready();
      });
    this.compiling.add(compiled);
    return pipeline;
  }

  private layout(accesses: string): BindLayout {
    let layout = this.layouts.get(accesses);
    if (!layout) {
      const entries = [...accesses].map(
        (access, binding): GPUBindGroupLayoutEntry => ({
          binding,
          visibility: COMPUTE,
          buffer: { type: access === 'r' ? 'read-only-storage' : 'storage' },
        }),
      );
      const gpu = this.host.gpu.createBindGroupLayout({ label: accesses, entries });
      this.layouts.set(accesses, (layout = { accesses, gpu, groups: new Map() }));
    }
    return layout;
  }

  /** @param params how parameters travel: '' none, 'i' immediates, 'u' uniform */
  private pipelineLayout(layout: BindLayout, params: '' | 'i' | 'u'): GPUPipelineLayout {
    const key = params + layout.accesses;
    let made = this.pipelineLayouts.get(key);
    if (!made) {
      const bindGroupLayouts = params === 'u' ? [layout.gpu, this.uniformLayout()] : [layout.gpu];
      made = this.host.gpu.createPipelineLayout({
        label: key,
        bindGroupLayouts,
        ...(params === 'i' ? { immediateSize: IMMEDIATE_BYTES } : {}),
      });
      this.pipelineLayouts.set(key, made);
    }
    return made;
  }
}

/** Removes the path `ids` from a tree with the branches that it leaves empty; whether it was there. */
function prune(tree: GroupTree, ids: readonly number[], depth: number): boolean {
  const id = ids[depth];
  if (depth === ids.length - 1) return tree.delete(id);
  const next = tree.get(id) as GroupTree | undefined;
  if (!next) return false;
  const found = prune(next, ids, depth + 1);
  if (next.size === 0) tree.delete(id);
  return found;
}

/** What is wrong with a shader: the compiler's messages with the lines that they mean, else the pipeline's own error. */
async function compileMessage(module: GPUShaderModule, code: string, error: unknown): Promise<string> {
  const lines = code.split('\n');
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter(({ type }) => type === 'error');
  if (errors.length === 0) return `the pipeline does not compile: ${(error as Error).message}`;
  const shown = errors
    .slice(0, 4)
    .map(({ lineNum, message }) => `line ${lineNum}: ${message}: ${lines[lineNum - 1]?.trim()}`);
  return `the WGSL does not compile: ${shown.join('\n')}`;
}
