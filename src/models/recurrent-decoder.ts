/** A recurrent model that reads prompts and then one token per sequence and step: a `Decoder` without keys and values. */
import { noGrad } from '../autograd/mode.js';
import { copy_ } from '../autograd/ops/in-place.js';
import { indexSelect } from '../autograd/ops/index.js';
import { cat } from '../autograd/ops/join.js';
import { DataError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { tensor } from '../tensor/factories.js';
import { keep, scope } from '../tensor/lifetime.js';
import type { Tensor } from '../tensor/tensor.js';
import type { TokenReader } from './decoder.js';
import type { RecurrentLM } from './recurrent-lm.js';

export class RecurrentDecoder implements TokenReader {
  readonly device: Device;
  /** What the model remembers of each sequence, [layers, R, H]; overwritten step by step, as captured steps need it. */
  private state: readonly Tensor[] = [];
  private readonly wasTraining: boolean;

  /** A state has the same size however much was read: there is nothing to reserve. */
  readonly cache = {
    reserve: (): void => {},
    reorder: (rows: Tensor): void => this.write(() => this.state.map((s) => indexSelect(s, 1, rows))),
  };

  /** @param prompts as many as there are sequences, of any lengths */
  constructor(
    private readonly model: RecurrentLM,
    private readonly prompts: readonly ArrayLike<number>[],
  ) {
    const [parameter] = model.parameters();
    if (!parameter) throw new DataError('generate: expected a model with parameters, got none');
    this.device = parameter.device;
    this.wasTraining = model.training;
    if (this.wasTraining) model.eval();
  }

  /** Reads all prompts. @param copies continuations of each @returns logits after their last tokens, [B·copies, V] */
  prefill<R>(copies: number, then: (logits: Tensor) => R): R {
    return noGrad(() =>
      scope(() => {
        // Padding would be remembered like any other token, so prompts of different lengths are read one by one.
        const same = this.prompts.every(({ length }) => length === this.prompts[0].length);
        const groups = same ? [this.prompts] : this.prompts.map((prompt) => [prompt]);
        const read = groups.map((group) => this.model.step(this.ids(group)));
        const joined = (parts: Tensor[], dim: number): Tensor => {
          const all = parts.length === 1 ? parts[0] : cat(parts, dim);
          if (copies === 1) return all;
          const picks = Int32Array.from({ length: all.shape[dim] * copies }, (_, i) =>
            Math.floor(i / copies),
          );
          return indexSelect(all, dim, tensor(picks, { device: this.device }));
        };
        this.state = read[0][1].map((_, i) => {
          const states = joined(
            read.map(([, state]) => state[i]),
            1,
          );
          return keep(states.clone());
        });
        return then(
          joined(
            read.map(([logits]) => logits),
            0,
          ),
        );
      }),
    );
  }

  private ids(group: readonly ArrayLike<number>[]): Tensor {
    const T = group[0].length;
    const ids = new Int32Array(group.length * T);
    group.forEach((prompt, b) => ids.set(Array.from(prompt), b * T));
    return tensor(ids, { shape: [group.length, T], device: this.device });
  }

  /** Reads one token of each sequence, [R, 1]: what a captured step does. @returns logits [R, V] */
  read(token: Tensor): Tensor {
    const [logits, next] = this.model.step(token, this.state);
    this.write(() => next);
    return logits;
  }

  private write(next: () => readonly Tensor[]): void {
    scope(() => next().forEach((s, i) => copy_(this.state[i], s)));
  }

  /** Gives the state back, and the model its mode. */
  release(): void {
    for (const s of this.state) s.release();
    if (this.wasTraining) this.model.train();
  }
}
