/** Finds WebGPU adapters: the browser's, or the system's through Dawn, software ones only where asked for. */
import { DeviceError } from '../errors.js';
import { DAWN_FEATURES, type Dawn, hasDriverLoader, isNode, loadDawn, systemAdapters } from './dawn.js';

/** An adapter that was found, with the object that keeps it alive. */
export interface FoundAdapter {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  readonly name: string;
  readonly software: boolean;
  /** Whether a failing call has raised its error by the time it returns: so in Dawn in Node.js, never in browsers. */
  readonly syncErrors: boolean;
}

/** An adapter in words and figures, for listing. */
export interface AdapterDescription {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** The driver, as the adapter describes it. */
  readonly description: string;
  readonly software: boolean;
  /** The value of `openWebGPU`'s option `adapter` that opens it. */
  readonly selector: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

const NO_GPU_REMEDY =
  "install the GPU's driver with Vulkan support, use the CPU device, or ask for a software adapter by name " +
  "(adapter: 'swiftshader' or 'lavapipe')";

/**
 * The adapter to open.
 *
 * @param choice nothing: the best GPU, never a software adapter; 'software': any software adapter; 'swiftshader',
 *   'lavapipe', 'null' (Dawn's backend that compiles and runs nothing); else part of a name, in any case of letters
 * @throws DeviceError where there is none, with the remedy
 */
export async function findAdapter(choice?: string): Promise<FoundAdapter> {
  const wanted = choice?.trim().toLowerCase() || undefined;
  const browser = browserGPU();
  if (browser) return findInBrowser(browser, wanted);
  if (!isNode()) {
    throw new DeviceError(
      'openWebGPU: expected navigator.gpu, got none; use a browser with WebGPU over https or localhost, or the CPU device',
    );
  }
  if (wanted === 'swiftshader') return openSwiftShader();
  if (wanted === 'software') return findSoftware();
  const dawn = await loadDawn();
  if (wanted === 'null') return openNull(dawn);
  return wanted === undefined ? findGPU(dawn) : findNamed(dawn, wanted);
}

/** Every adapter of this system, GPUs first; SwiftShader only where its package is installed. */
export async function listAdapters(): Promise<AdapterDescription[]> {
  const browser = browserGPU();
  const found: FoundAdapter[] = [];
  if (browser) {
    found.push(...(await browserAdapters(browser)));
  } else if (isNode()) {
    const dawn = await loadDawn();
    for (const { name, backend } of await systemAdapters(dawn)) {
      const one = await requestNamed(dawn, name, backend);
      if (one) found.push(one);
    }
    const { swiftShaderProblem } = await import('./swiftshader.js');
    if (swiftShaderProblem() === null && !found.some(({ name }) => /swiftshader/i.test(name))) {
      found.push(await openSwiftShader());
    }
  }
  found.sort((a, b) => Number(a.software) - Number(b.software));
  return found.map(describe);
}

/** Whether an adapter computes on the CPU: SwiftShader, Mesa's llvmpipe (lavapipe), Microsoft's WARP. */
export function isSoftware(info: GPUAdapterInfo, name = ''): boolean {
  if (info.isFallbackAdapter) return true;
  const words = `${name} ${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return /swiftshader|llvmpipe|lavapipe|softpipe|microsoft basic render|\bwarp\b/i.test(words);
}

/**
 * Whether a driver compiles a shader when it is first dispatched, on the thread of the device's queue, and keeps it in a cache
 * that other devices read: so Mesa's lavapipe, unless its cache is switched off. Browsers do not let it write one.
 */
export function compilesLate(found: FoundAdapter): boolean {
  return isNode() && isLavapipe(found) && !process.env.MESA_SHADER_CACHE_DISABLE;
}

export function isLavapipe({ name }: FoundAdapter): boolean {
  return /llvmpipe|lavapipe/i.test(name);
}

/** The limits of an adapter or device as a plain object. */
export function limitsOf(limits: GPUSupportedLimits): Record<string, number> {
  const all: Record<string, number> = {};
  for (const key in limits) {
    const value = limits[key as keyof GPUSupportedLimits];
    if (typeof value === 'number') all[key] = value;
  }
  return all;
}

function browserGPU(): GPU | undefined {
  return (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
}

async function findInBrowser(gpu: GPU, wanted: string | undefined): Promise<FoundAdapter> {
  const all = await browserAdapters(gpu);
  const match = all.find(({ name, software, adapter }) => {
    if (wanted === undefined) return !software;
    if (wanted === 'software') return software;
    const { vendor, architecture, description } = adapter.info;
    return `${name} ${vendor} ${architecture} ${description}`.toLowerCase().includes(alias(wanted));
  });
  if (match) return match;
  throw missing(wanted, all);
}

/** What a browser offers: its preferred adapter and its fallback, which may be one and the same. */
async function browserAdapters(gpu: GPU): Promise<FoundAdapter[]> {
  const found: FoundAdapter[] = [];
  for (const options of [{ powerPreference: 'high-performance' as const }, { forceFallbackAdapter: true }]) {
    const adapter = await gpu.requestAdapter(options);
    if (!adapter) continue;
    const { info } = adapter;
    const name =
      info.device ||
      info.description ||
      [info.vendor, info.architecture].filter(Boolean).join(' ') ||
      'WebGPU adapter';
    if (!found.some((other) => other.name === name)) {
      found.push({ gpu, adapter, name, software: isSoftware(info), syncErrors: false });
    }
  }
  return found;
}

async function findGPU(dawn: Dawn): Promise<FoundAdapter> {
  const all: FoundAdapter[] = [];
  // Dawn lists discrete GPUs first.
  for (const { name, backend } of await systemAdapters(dawn)) {
    const found = await requestNamed(dawn, name, backend);
    if (found && !found.software) return found;
    if (found) all.push(found);
  }
  throw missing(
    undefined,
    all,
    hasDriverLoader() ? '' : ' (no Vulkan loader, libvulkan.so.1, on this system)',
  );
}

async function findNamed(dawn: Dawn, wanted: string): Promise<FoundAdapter> {
  const all = await systemAdapters(dawn);
  const match = all.find(({ name }) => name.toLowerCase().includes(alias(wanted)));
  const found = match && (await requestNamed(dawn, match.name, match.backend));
  if (found) return found;
  throw missing(wanted, all);
}

async function findSoftware(): Promise<FoundAdapter> {
  const { swiftShaderProblem } = await import('./swiftshader.js');
  const dawn = await loadDawn();
  for (const { name, backend } of await systemAdapters(dawn)) {
    const found = await requestNamed(dawn, name, backend);
    if (found?.software) return found;
  }
  const problem = swiftShaderProblem();
  if (problem === null) return openSwiftShader();
  throw new DeviceError(`openWebGPU: expected a software adapter, got none; ${problem}`);
}

async function requestNamed(dawn: Dawn, name: string, backend: string): Promise<FoundAdapter | null> {
  const gpu = dawn.create([...DAWN_FEATURES, `backend=${backend}`, `adapter=${name}`]);
  const adapter = await gpu.requestAdapter();
  return adapter && { gpu, adapter, name, software: isSoftware(adapter.info, name), syncErrors: true };
}

async function openSwiftShader(): Promise<FoundAdapter> {
  const { loadSwiftShader } = await import('./swiftshader.js');
  const { dawn, environment } = loadSwiftShader();
  // The Vulkan loader reads the environment inside requestAdapter, before it returns its promise.
  const before = Object.fromEntries(Object.keys(environment).map((key) => [key, process.env[key]]));
  Object.assign(process.env, environment);
  let request: Promise<GPUAdapter | null>;
  const gpu = dawn.create([...DAWN_FEATURES, 'backend=vulkan']);
  try {
    request = gpu.requestAdapter();
  } finally {
    for (const [key, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[key];
      else process.env[key] = value;
    }
  }
  const adapter = await request;
  if (!adapter || !isSoftware(adapter.info)) {
    throw new DeviceError(
      "openWebGPU: expected SwiftShader's adapter, got none from its driver; in a worker thread start it with env: SHARE_ENV",
    );
  }
  return { gpu, adapter, name: 'SwiftShader', software: true, syncErrors: true };
}

async function openNull(dawn: Dawn): Promise<FoundAdapter> {
  const gpu = dawn.create([...DAWN_FEATURES, 'backend=null']);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw missing('null', []);
  return { gpu, adapter, name: "Dawn's null backend", software: true, syncErrors: true };
}

/** Mesa's Vulkan driver is known as lavapipe, its adapter as llvmpipe. */
function alias(wanted: string): string {
  return wanted === 'lavapipe' ? 'llvmpipe' : wanted;
}

function missing(wanted: string | undefined, all: readonly { name: string }[], why = ''): DeviceError {
  const names = all.map(({ name }) => `'${name}'`).join(', ');
  if (wanted === undefined) {
    const got = names ? `only software (${names})` : `none${why}`;
    return new DeviceError(`openWebGPU: expected a GPU adapter, got ${got}; ${NO_GPU_REMEDY}`);
  }
  const remedy =
    wanted === 'lavapipe'
      ? "install Mesa's software Vulkan driver, newer than 22.3 (Debian: mesa-vulkan-drivers)"
      : "name one of these, or none for the best GPU; 'swiftshader', 'lavapipe' and 'software' ask for software adapters";
  return new DeviceError(
    `openWebGPU: expected an adapter named like '${wanted}', got ${names || 'none'}; ${remedy}`,
  );
}

function describe({ adapter, name, software }: FoundAdapter): AdapterDescription {
  const { vendor, architecture, description } = adapter.info;
  const features = [...adapter.features].sort();
  const selector = /swiftshader/i.test(name) ? 'swiftshader' : name;
  return {
    name,
    vendor,
    architecture,
    description,
    software,
    selector,
    features,
    limits: limitsOf(adapter.limits),
  };
}
