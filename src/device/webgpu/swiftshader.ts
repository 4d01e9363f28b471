/**
 * Node only: SwiftShader, a Vulkan driver in software, out of the npm package `@sparticuz/chromium`. It exists to run
 * the WGSL kernels where there is no GPU.
 */
import { DeviceError } from '../errors.js';
import { type Dawn, dawnEntry, resolvePackage } from './dawn.js';

const PACKAGE = '@sparticuz/chromium';
const FILES = ['libvk_swiftshader.so', 'libvulkan.so.1', 'vk_swiftshader_icd.json'];

/** SwiftShader with the Dawn that finds it. */
export interface SwiftShader {
  readonly dawn: Dawn;
  /** The environment under which the Vulkan loader finds this driver and no other. */
  readonly environment: Readonly<Record<string, string>>;
}

let loaded: SwiftShader | null = null;

/** Why SwiftShader cannot run here, or null where it can. */
export function swiftShaderProblem(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `SwiftShader comes for linux-x64 only, and this is ${process.platform}-${process.arch}`;
  }
  if (archive() === null)
    return `SwiftShader comes with the npm package ${PACKAGE}; install it with: npm install --save-dev ${PACKAGE}`;
  return null;
}

/** Unpacks SwiftShader where that has not been done, and loads Dawn beside it. @throws DeviceError */
export function loadSwiftShader(): SwiftShader {
  if (loaded) return loaded;
  const problem = swiftShaderProblem();
  if (problem !== null) throw new DeviceError(`openWebGPU: expected SwiftShader, got none: ${problem}`);
  const { join } = process.getBuiltinModule('node:path');
  const folder = unpacked(archive()!, dawnAddon());
  // Dawn looks for libvulkan.so.1 in the folder of the addon that was loaded, before it asks the system.
  const module = { exports: {} as Dawn };
  process.dlopen(module, join(folder, 'dawn.node'));
  const icd = join(folder, 'vk_swiftshader_icd.json');
  loaded = { dawn: module.exports, environment: { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd } };
  return loaded;
}

interface Archive {
  readonly file: string;
  readonly version: string;
}

function archive(): Archive | null {
  const { existsSync, readFileSync } = process.getBuiltinModule('node:fs');
  const { dirname, join } = process.getBuiltinModule('node:path');
  const entry = resolvePackage(PACKAGE);
  if (entry === null) return null;
  for (let folder = dirname(entry); folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'bin', 'swiftshader.tar.br');
    if (!existsSync(file)) continue;
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return { file, version };
  }
  return null;
}

function dawnAddon(): Archive {
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const { dirname, join } = process.getBuiltinModule('node:path');
  const folder = dirname(dawnEntry());
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return { file: join(folder, 'dist', `${process.platform}-${process.arch}`, 'dawn.node'), version };
}

/** The folder with driver, loader and addon: in the user's cache, else under the temporary folder. */
function unpacked(swiftshader: Archive, addon: Archive): string {
  const { join } = process.getBuiltinModule('node:path');
  const { homedir, tmpdir, userInfo } = process.getBuiltinModule('node:os');
  const name = `swiftshader-${swiftshader.version}-dawn-${addon.version}`;
  const roots = [
    process.env.DAWNGRAD_CACHE,
    process.env.XDG_CACHE_HOME && join(process.env.XDG_CACHE_HOME, 'dawngrad'),
    join(homedir(), '.cache', 'dawngrad'),
    join(tmpdir(), `dawngrad-${userInfo().uid}`),
  ];
  let failure: unknown;
  for (const root of roots) {
    if (!root) continue;
    try {
      const folder = join(root, name);
      if (!isComplete(folder)) unpackInto(root, folder, swiftshader.file, addon.file);
      return folder;
    } catch (error) {
      failure = error; // a read-only or full place; the next may do
    }
  }
  throw new DeviceError(
    `openWebGPU: expected a folder to unpack SwiftShader into, got: ${(failure as Error).message}`,
  );
}

function isComplete(folder: string): boolean {
  const { existsSync } = process.getBuiltinModule('node:fs');
  const { join } = process.getBuiltinModule('node:path');
  return [...FILES, 'dawn.node'].every((file) => existsSync(join(folder, file)));
}

/** Fills a folder of its own and renames it into place, so that no process ever sees half of it. */
function unpackInto(root: string, folder: string, archiveFile: string, addonFile: string): void {
  const fs = process.getBuiltinModule('node:fs');
  const { join } = process.getBuiltinModule('node:path');
  const { brotliDecompressSync } = process.getBuiltinModule('node:zlib');
  // Libraries are loaded from here, so nobody else may write to it.
  fs.mkdirSync(root, { recursive: true, mode: 0o700 });
  const owner = fs.statSync(root);
  if (owner.uid !== process.getuid?.() || (owner.mode & 0o022) !== 0) {
    throw new Error(`${root} can be written by other users`);
  }
  const partial = fs.mkdtempSync(join(root, 'unpacking-'));
  try {
    const tar = brotliDecompressSync(fs.readFileSync(archiveFile));
    for (const [name, data] of tarEntries(tar)) {
      if (FILES.includes(name)) fs.writeFileSync(join(partial, name), data, { mode: 0o755 });
    }
    // The loader resolves symbolic links before it looks beside the addon; a hard link is no link to it.
    try {
      fs.linkSync(addonFile, join(partial, 'dawn.node'));
    } catch {
      fs.copyFileSync(addonFile, join(partial, 'dawn.node'));
    }
    if (!isComplete(partial)) throw new Error(`${archiveFile} lacks one of ${FILES.join(', ')}`);
    try {
      fs.renameSync(partial, folder);
    } catch (error) {
      // Another process was first; or what is there is broken and makes room.
      if (isComplete(folder)) return;
      if (!fs.existsSync(folder)) throw error;
      fs.renameSync(folder, `${partial}-broken`);
      fs.renameSync(partial, folder);
      fs.rmSync(`${partial}-broken`, { recursive: true, force: true });
    }
  } finally {
    fs.rmSync(partial, { recursive: true, force: true });
  }
}

/** The regular files of a tar archive (POSIX ustar): 512-byte headers, each followed by its data padded to 512. */
function* tarEntries(tar: Buffer): Generator<[name: string, data: Buffer]> {
  const text = (start: number, length: number) =>
    tar.toString('latin1', start, start + length).split('\0')[0];
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    if (!(size >= 0 && at + 512 + size <= tar.length))
      throw new Error('the archive of SwiftShader is cut off');
    const type = text(at + 156, 1);
    if (type === '0' || type === '')
      yield [text(at, 100).replace(/^\.\//, ''), tar.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}
