/** Settings of a job as flags of a command. */
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { addConfigOptions, givenSettings } from '../../src/cli/config-options.js';
import { defineConfig, whole } from '../../src/train/config.js';

const JOB = defineConfig('job', {
  twins: [z.boolean().default(true), '', 'false: no twins'],
  headers: [z.boolean().default(false), '', 'all headers'],
  steps: [whole(1).default(100), 'n', 'optimizer steps'],
});

function given(...flags: string[]): Record<string, unknown> {
  const command = addConfigOptions(new Command('job').exitOverride(), JOB);
  command.parse(flags, { from: 'user' });
  return givenSettings(command.opts(), JOB);
}

describe('settings as flags', () => {
  it('are those that were given', () => {
    expect(given()).toEqual({});
    expect(given('--no-twins', '--steps', '7')).toEqual({ twins: false, steps: '7' });
  });

  it('turn on and off, whatever a file says', () => {
    expect(given('--headers')).toEqual({ headers: true });
    expect(given('--no-headers', '--twins')).toEqual({ headers: false, twins: true });
  });

  it('show in the help what changes something', () => {
    const help = addConfigOptions(new Command('job'), JOB).helpInformation();
    expect(help).toContain('--no-twins');
    expect(help).toContain('--headers');
    expect(help).not.toMatch(/--twins|--no-headers/);
    expect(help).toContain('optimizer steps (default: 100)');
  });
});
