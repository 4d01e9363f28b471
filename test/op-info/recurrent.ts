/** Whole sequences of the recurrent cells, held to the float64 oracle; test/nn holds the layers to PyTorch. */
import { type CellName, recurrent } from '../../src/autograd/ops/recurrent.js';
import { ShapeError } from '../../src/device/errors.js';
import { tensor } from '../../src/tensor/factories.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type OpInfo, row, type Sample, values } from './types.js';

const T = 4;
const B = 2;
const H = 3;

/** Inputs in the order projected, h0, weight, then c0 (lstm) or bias (gru). */
function cell(name: CellName, gates: number, extra: readonly (readonly number[])[]): OpInfo {
  const inputs = [[T, B, gates * H], [B, H], [gates * H, H], ...extra].map((shape, i) =>
    values(shape, i + 1, -1, 1),
  );
  // More than a group of six sequences and than a vector of units; enough rows to pack the weights on the CPU device.
  const large = [
    [7, 4, gates * 9],
    [7, 9],
    [gates * 9, 9],
    ...extra.map((e) => (e.length > 1 ? [7, 9] : [gates * 9])),
  ].map((shape, i) => values(shape, i + 11, -0.5, 0.5));
  // Sizes that kernels take in vectors, and workgroups of six sequences.
  const aligned = [
    [13, 2, gates * 8],
    [13, 8],
    [gates * 8, 8],
    ...extra.map((e) => (e.length > 1 ? [13, 8] : [gates * 8])),
  ].map((shape, i) => values(shape, i + 21, -0.5, 0.5));
  const samples: Sample[] = [
    { name: 'forwards', inputs, params: { reverse: false } },
    { name: 'backwards', inputs, params: { reverse: true } },
    {
      name: 'one step',
      inputs: inputs.map((a, i) => (i === 0 ? values([B, 1, gates * H], 9, -1, 1) : a)),
      params: { reverse: false, batchFirst: true },
    },
    { name: 'many sequences', inputs: large, params: { reverse: true, batchFirst: true } },
    { name: 'whole vectors', inputs: aligned, params: { reverse: false, batchFirst: true } },
  ];
  return row<{ reverse: boolean; batchFirst?: boolean }>({
    name: `recurrent ${name}`,
    covers: [name, `${name}Backward`],
    run: ([projected, h0, weight, last], params) => {
      const rest = name === 'lstm' ? { c0: last } : name === 'gru' ? { bias: last } : {};
      const { output, h, c } = recurrent(name, { projected, h0, weight, ...rest }, params);
      return [output, h, c].filter((t): t is Tensor => t !== null);
    },
    samples,
    errors: [
      {
        name: 'a state of another size',
        run: (device) => {
          const t = (...shape: number[]): Tensor =>
            tensor(new Float32Array(shape.reduce((n, s) => n * s, 1)), { shape, device });
          return recurrent(name, {
            projected: t(T, B, gates * H),
            h0: t(B, H + 1),
            weight: t(gates * H, H),
            c0: name === 'lstm' ? t(B, H) : null,
            bias: name === 'gru' ? t(gates * H) : null,
          });
        },
        error: ShapeError,
        message:
          `${name}: expected at least one step and shapes [4, 2, ${gates * H}], [2, 3], [${gates * H}, 3]` +
          `${{ lstm: ', [2, 3]', gru: ', [9]' }[name as string] ?? ''}, got [4, 2, ${gates * H}], [2, 4], [${gates * H}, 3]` +
          `${{ lstm: ', [2, 3]', gru: ', [9]' }[name as string] ?? ''}`,
      },
    ],
  });
}

export const recurrents: readonly OpInfo[] = [
  cell('lstm', 4, [[B, H]]),
  cell('gru', 3, [[3 * H]]),
  cell('rnnTanh', 1, []),
  cell('rnnRelu', 1, []),
];
