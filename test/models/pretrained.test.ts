/** Models without what reads files: as in browsers. */
import { expect, it } from 'vitest';
import '../../src/autograd/methods.js';
import { DataError } from '../../src/device/errors.js';
import { GPT2 } from '../../src/models/gpt2.js';
import { gpt2Config } from '../../src/models/gpt2-config.js';
import { cpuDevice } from '../../src/tensor/default-device.js';

it('says what to import', async () => {
  const error = (what: string): DataError =>
    new DataError(
      `GPT2.${what}: expected Node.js with dawngrad/node, got no access to files; add: import 'dawngrad/node'`,
    );
  await expect(GPT2.fromPretrained('somewhere')).rejects.toThrow(error('fromPretrained'));
  const sizes = { layers: 1, heads: 1, dim: 4, vocabSize: 5, contextLength: 3 };
  const model = new GPT2(gpt2Config('nano', sizes), { device: cpuDevice(), initialize: false });
  await expect(model.savePretrained('somewhere')).rejects.toThrow(error('savePretrained'));
});
