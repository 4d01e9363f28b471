import { execFileSync } from 'node:child_process';

/** The WebAssembly module is built, not committed; the build does nothing when it is up to date. */
export default function setup(): void {
  execFileSync(process.execPath, ['scripts/build-wasm.mjs'], { stdio: 'inherit' });
}
