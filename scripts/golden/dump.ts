/** Writes every sample of the op table, with its PyTorch expression, as JSON on standard output for ops.py. */
import { cotangent, digest } from '../../test/conformance.js';
import { opInfo } from '../../test/op-info.js';

const rows = opInfo
  .filter((row) => row.torch)
  .map((row) => ({
    name: row.name,
    torch: row.torch,
    samples: row.samples.map((sample) =>
      sample.noGolden
        ? null
        : {
            name: sample.name,
            digest: digest(row, sample),
            inputs: sample.inputs,
            params: sample.params ?? {},
            wanted:
              row.grad === false || sample.noGrad
                ? []
                : sample.inputs
                    .map((_, i) => i)
                    .filter(
                      (i) =>
                        (!sample.inputs[i].dtype || sample.inputs[i].dtype === 'float') &&
                        (row.gradInputs?.includes(i) ?? true),
                    ),
          },
    ),
  }));
/** The projection weights by output number, long enough for every output: values() is sequential, so a prefix serves. */
const weights = Array.from({ length: 4 }, (_, k) => cotangent(k, [200_000]).data);

/** JSON has no words for these. */
function special(v: unknown): unknown {
  if (Object.is(v, -0)) return { special: '-0' };
  return typeof v === 'number' && !Number.isFinite(v) ? { special: String(v) } : v;
}

process.stdout.write(JSON.stringify({ rows, weights }, (_, v) => special(v)));
