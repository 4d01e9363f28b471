/** Cold first steps: an empty cache of shaders. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs `fn` with an environment in which Mesa's drivers keep their shaders in a new, empty folder; it is removed afterwards. */
export async function withEmptyCache<T>(fn: (env: NodeJS.ProcessEnv) => T | Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'dawngrad-shaders-'));
  try {
    return await fn({ MESA_SHADER_CACHE_DIR: folder });
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
