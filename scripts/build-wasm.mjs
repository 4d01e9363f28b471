/**
 * Compiles the CPU device's WebAssembly module: src/device/cpu/wasm/assembly/*.ts → src/device/cpu/wasm/generated.ts.
 * Does nothing where the inputs are those of the last build, and replaces the file in one step, so that several
 * processes may build at once.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../src/device/cpu/wasm/', import.meta.url));
const target = join(folder, 'generated.ts');
const options = [
  ...['-O3', '--noAssert', '--runtime', 'stub'],
  // The device brings its memory, whose first page is the module's.
  ...['--importMemory', '--noExportMemory', '--maximumMemory', '65536'],
  ...['--enable', 'simd', '--enable', 'threads', '--sharedMemory', '--use', 'abort='],
];
/** The builds: with and without fused multiply-add, both on memory that threads share. */
const builds = { plain: [], relaxed: ['--enable', 'relaxed-simd'] };

const sources = {};
for (const name of readdirSync(join(folder, 'assembly')).sort()) {
  if (name.endsWith('.ts')) sources[name] = readFileSync(join(folder, 'assembly', name), 'utf8');
}
const { version } = createRequire(import.meta.url)('assemblyscript/package.json');
const hash = createHash('sha256')
  .update(JSON.stringify([version, options, builds, sources]))
  .digest('hex');
const head = `// Made by scripts/build-wasm.mjs from inputs ${hash}`;

if (current() !== head) {
  const lines = [];
  const sizes = [];
  for (const [name, more] of Object.entries(builds)) {
    const bytes = await compile(more);
    const base64 = Buffer.from(bytes).toString('base64');
    lines.push(`  ${name}: { sharedFlag: ${sharedFlag(bytes)}, base64:\n    '${base64}' },\n`);
    sizes.push(`${name} ${bytes.length}`);
  }
  const temporary = `${target}.${process.pid}.tmp`;
  const type = 'Record<string, { sharedFlag: number; base64: string }>';
  writeFileSync(temporary, `${head}\nexport const builds: ${type} = {\n${lines.join('')}};\n`);
  renameSync(temporary, target);
  console.log(`build-wasm: bytes: ${sizes.join(', ')}`);
}

/** The first line of the last build, which names its inputs. */
function current() {
  try {
    return readFileSync(target, 'utf8').split('\n', 1)[0];
  } catch {
    return undefined;
  }
}

/**
 * Where the import of the memory says that it is shared. Nothing else in the module depends on it, so that the build for
 * ordinary memory, for pages without threads, is this one with that byte cleared to 1 (there is a maximum).
 */
function sharedFlag(bytes) {
  const description = Buffer.from('\x03env\x06memory\x02\x03', 'latin1');
  const at = Buffer.from(bytes).indexOf(description);
  if (at < 0) throw new Error('build-wasm: expected the module to import a shared memory as env.memory');
  return at + description.length - 1;
}

/** The module, with further compiler options. */
async function compile(more) {
  const { default: asc } = await import('assemblyscript/asc');
  let bytes;
  const { error, stderr } = await asc.main(['index.ts', '--outFile', 'module.wasm', ...options, ...more], {
    readFile: (name) => sources[name] ?? null,
    writeFile: (name, contents) => {
      if (name === 'module.wasm') bytes = contents;
    },
    listFiles: () => [],
  });
  if (error || !bytes) throw new Error(`build-wasm: the module does not compile\n${stderr}`);
  return bytes;
}
