import type { Command } from 'commander';
import { DawngradError } from '../device/errors.js';

/**
 * Parses the command line and does what it says. What we throw on purpose is written for people: it is printed without
 * its stack, and the exit status is 1. Anything else is a bug, and keeps its stack.
 *
 * @param name what messages begin with
 */
export async function runProgram(program: Command, name: string): Promise<void> {
  try {
    await program.parseAsync();
  } catch (e) {
    if (!(e instanceof DawngradError)) throw e;
    console.error(`${name}: ${e.message}`);
    process.exitCode = 1;
  }
}
