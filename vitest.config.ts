import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/setup-global.ts'],
    // Dawn lives in a process of its own per file: a native crash names the file, and no device is shared.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Software adapters take their time to shut down on a busy machine.
    teardownTimeout: 60_000,
    execArgv: ['--expose-gc'],
  },
});
