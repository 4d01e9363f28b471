import type { Command } from 'commander';
import { cpuDevice, surveyDevices } from '../device/open.js';
import type { Device } from '../device/types.js';
import { openWebGPU } from '../device/webgpu/device.js';
import { type DeviceSpeed, measureDevice } from '../train/measure.js';

/** `dawngrad devices`. */
export function addDevicesCommand(program: Command): void {
  program
    .command('devices')
    .description('list devices and adapters, and say which one would be used and why')
    .option('--json', 'print everything as JSON')
    .option('--measure', 'time a small and a larger training step on each device (half a minute)')
    .option('--all-limits', 'print every limit, not only those that bound compute kernels')
    .action(async (options: { json?: boolean; allLimits?: boolean; measure?: boolean }) => {
      const survey = await surveyDevices();
      const measure = async (): Promise<Measured[]> => [
        await measured(cpuDevice()),
        ...(await sequence(survey.adapters, (a) => measuredAdapter(a.selector))),
      ];
      // Nothing can be opened: what is asked for is not here, or misspelt.
      if (survey.chosen === null) process.exitCode = 1;
      if (options.json) {
        const speeds = options.measure ? { speeds: await measure() } : {};
        console.log(JSON.stringify({ ...survey, ...speeds }, null, 2));
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
      console.log(survey.cpu.name);
      console.log('  open with   DAWNGRAD_DEVICE=cpu');
      console.log(`  features    ${survey.cpu.features.join(', ')}`);
      console.log(`  threads     ${survey.cpu.limits.threads}`);
      console.log('');
      console.log(`Would use: ${survey.chosen ?? 'none'}`);
      console.log(`Because:   ${survey.reason}`);
      if (options.measure) report(await measure());
    });
}

interface Measured extends DeviceSpeed {
  readonly name: string;
}

async function measured(device: Device): Promise<Measured> {
  return { name: device.info.name, ...(await measureDevice(device)) };
}

async function measuredAdapter(adapter: string): Promise<Measured> {
  const device = await openWebGPU({ adapter });
  try {
    return await measured(device);
  } finally {
    await device.close();
  }
}

/** One after the other: they would share the cores. */
async function sequence<T, R>(items: readonly T[], fn: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await fn(item));
  return results;
}

function report(speeds: readonly Measured[]): void {
  const fastest = (key: 'small' | 'larger'): string =>
    speeds.reduce((best, s) => (s[key] < best[key] ? s : best)).name;
  const width = Math.max(...speeds.map((s) => s.name.length));
  console.log('\nMilliseconds per training step    60,000 parameters   420,000 parameters');
  for (const { name, small, larger } of speeds) {
    console.log(
      `  ${name.padEnd(width)}  ${small.toFixed(2).padStart(10)}  ${larger.toFixed(2).padStart(10)}`,
    );
  }
  console.log(`Faster for small models: ${fastest('small')}; for larger ones: ${fastest('larger')}`);
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
