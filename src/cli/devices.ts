import type { Command } from 'commander';
import { surveyDevices } from '../device/open.js';

/** `dawngrad devices`. */
export function addDevicesCommand(program: Command): void {
  program
    .command('devices')
    .description('list devices and adapters, and say which one would be used and why')
    .option('--json', 'print everything as JSON')
    .option('--all-limits', 'print every limit, not only those that bound compute kernels')
    .action(async (options: { json?: boolean; allLimits?: boolean }) => {
      const survey = await surveyDevices();
      if (options.json) {
        console.log(JSON.stringify(survey, null, 2));
        return;
      }
      for (const a of survey.adapters) {
        console.log(`${a.name}${a.software ? ' (software: for tests, used only when asked for)' : ''}`);
        console.log(`  open with   DAWNGRAD_DEVICE=webgpu DAWNGRAD_ADAPTER='${a.selector}'`);
        console.log(`  driver      ${a.description || '–'}`);
        console.log(`  features    ${a.features.join(', ') || 'none'}`);
        console.log(`  limits      ${describeLimits(a.limits, options.allLimits ?? false)}`);
        console.log('');
      }
      if (survey.problem) console.log(`WebGPU adapters could not be listed: ${survey.problem}\n`);
      else if (survey.adapters.length === 0) console.log('No WebGPU adapter on this system.\n');
      console.log('CPU (WebAssembly SIMD)');
      console.log('  open with   DAWNGRAD_DEVICE=cpu');
      console.log('');
      console.log(`Would use: ${survey.chosen}`);
      console.log(`Because:   ${survey.reason}`);
    });
}

const MAIN_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
];

function describeLimits(limits: Readonly<Record<string, number>>, all: boolean): string {
  const names = all ? Object.keys(limits).sort() : MAIN_LIMITS.filter((name) => name in limits);
  return names.map((name) => `${name} ${limits[name].toLocaleString('en')}`).join(', ');
}
