/**
 * Bytes of a GPT-2 base in float32, int8 and NF4: `npx tsx scripts/quantized-bytes.ts [size]`, gpt2 (124M) by default.
 * Weights are
 * random; their number alone counts.
 */
import '../src/autograd/methods.js';
import { type GPT2Size, gpt2Config } from '../src/models/gpt2-config.js';
import { GPT2 } from '../src/models/gpt2.js';
import { countParameters, modelBytes, quantizeModel } from '../src/nn/index.js';
import { openCPU } from '../src/device/cpu/device.js';
import { setDefaultDevice } from '../src/tensor/default-device.js';

const size = (process.argv[2] ?? 'gpt2') as GPT2Size;
const device = openCPU();
setDefaultDevice(device);
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1).padStart(7);
for (const [scheme, doubleQuant] of [
  ['int8', false],
  ['nf4', false],
  ['nf4', true],
] as const) {
  const model = new GPT2(gpt2Config(size));
  const { total } = countParameters(model);
  const start = performance.now();
  const { bytesBefore, bytesAfter } = await quantizeModel(model, { scheme, doubleQuant });
  const seconds = (performance.now() - start) / 1000;
  const { liveBytes } = device.memory();
  console.log(
    `${size}: ${total} parameters, float32 ${megabytes(bytesBefore)} MB, ${scheme}${doubleQuant ? ' + 8-bit scales' : ''} ` +
      `${megabytes(bytesAfter)} MB (${(bytesAfter / bytesBefore).toFixed(4)}), made in ${seconds.toFixed(1)} s; ` +
      `the device holds ${megabytes(liveBytes)} MB`,
  );
  if (bytesAfter !== modelBytes(model)) throw new Error('the bytes of the model have changed');
  for (const t of [...model.parameters(), ...model.buffers()]) t.release();
}
await device.close();
