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
  ...['--enable', 'simd', '--use', 'abort='],
];

const sources = {};
for (const name of readdirSync(join(folder, 'assembly')).sort()) {
  if (name.endsWith('.ts')) sources[name] = readFileSync(join(folder, 'assembly', name), 'utf8');
}
const { version } = createRequire(import.meta.url)('assemblyscript/package.json');
const hash = createHash('sha256')
  .update(JSON.stringify([version, options, 'plain and relaxed', sources]))
  .digest('hex');
const head = `// Made by scripts/build-wasm.mjs from inputs ${hash}`;

if (current() !== head) {
  const plain = await compile([]);
  const relaxed = await compile(['--enable', 'relaxed-simd']);
  const constant = (name, bytes) =>
    `export const ${name}: string =\n  '${Buffer.from(bytes).toString('base64')}';\n`;
  const temporary = `${target}.${process.pid}.tmp`;
  writeFileSync(
    temporary,
    `${head}\n${constant('wasmBase64', plain)}${constant('relaxedWasmBase64', relaxed)}`,
  );
  renameSync(temporary, target);
  console.log(`build-wasm: ${plain.length} bytes, with relaxed SIMD ${relaxed.length}`);
}

/** The first line of the last build, which names its inputs. */
function current() {
  try {
    return readFileSync(target, 'utf8').split('\n', 1)[0];
  } catch {
    return undefined;
  }
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
