/** What a trained LSTM's gates do. */
import { cat, type Device, type models, noGrad, scope, tensor, zeros } from '../../src/index.js';

export interface GateStatistics {
  /** Root of the mean square of weight_hh. */
  readonly recurrentSize: number;
  /** Share of the input, forget and output gates below 0.05 or above 0.95: almost no gradient passes their sigmoid. */
  readonly stuck: number;
}

/** Characters that the gates are watched on. */
const WATCHED = 4800;

/** Reads a text in windows of 48 and looks at every gate at every character. */
export async function gateStatistics(
  model: models.CharLSTM,
  ids: Int32Array,
  device: Device,
): Promise<GateStatistics> {
  const T = 48;
  const B = Math.floor(Math.min(ids.length, WATCHED) / T);
  const { lstm, embedding } = model;
  const parameters = new Map(lstm.namedParameters());
  const weight = (name: string) => parameters.get(name)!;
  const H = lstm.hiddenSize;
  const { size, stuck } = scope(() =>
    noGrad(() => {
      const x = embedding.forward(tensor(ids.slice(0, B * T), { shape: [B, T], device }));
      const [y] = lstm.forward(x);
      // h before each character: zeros, then what came out of the one before.
      const before = cat([zeros([B, 1, H], { device }), y.narrow(1, 0, T - 1)], 1);
      const sums = x
        .matmul(weight('weight_ih_l0').transpose(0, 1))
        .add(before.matmul(weight('weight_hh_l0').transpose(0, 1)))
        .add(weight('bias_ih_l0'))
        .add(weight('bias_hh_l0'));
      // PyTorch's order is i, f, g, o; g is no gate.
      const gates = cat([sums.narrow(2, 0, 2 * H), sums.narrow(2, 3 * H, H)], 2).sigmoid();
      const far = gates.lt(0.05).logicalOr(gates.gt(0.95));
      return {
        size: weight('weight_hh_l0').square().mean().sqrt(),
        stuck: far.to('float32').mean(),
      };
    }),
  );
  const statistics = { recurrentSize: await size.item(), stuck: await stuck.item() };
  size.release();
  stuck.release();
  return statistics;
}
