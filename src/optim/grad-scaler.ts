/** Dynamic loss scaling for mixed precision. */
import { executeInPlace } from '../autograd/op.js';
import { mul } from '../autograd/ops/arithmetic.js';
import { DataError, GradError } from '../device/errors.js';
import type { Device } from '../device/types.js';
import { copyProgram } from '../kernels/copy.js';
import { SCALER, unscaleProgram, updateScaleProgram } from '../kernels/grad-scaler.js';
import { fromHost } from '../tensor/factories.js';
import { unscoped } from '../tensor/lifetime.js';
import { Tensor } from '../tensor/tensor.js';
import { gradients } from './clip.js';
import type { Optimizer } from './optimizer.js';

export interface GradScalerOptions {
  /** Default 2¹⁶. */
  initScale?: number;
  /** Factor after `growthInterval` steps without an infinity; default 2. */
  growthFactor?: number;
  /** Factor after a step with one; default 0.5. */
  backoffFactor?: number;
  /** Default 2,000. */
  growthInterval?: number;
  /** Off: scale() and unscale_() do nothing, step() steps. Default on. */
  enabled?: boolean;
}

/** What a scaler is saved as. */
export interface GradScalerState {
  /** float32 [3]: scale, steps since it changed, skipped steps. */
  readonly tensors: Map<string, Tensor>;
}

/** The part of an optimizer that a scaler deals with. */
type Stepping = Pick<Optimizer<{ lr: number }>, 'paramGroups' | 'step' | 'name'>;

/**
 * Multiplies the loss so that small gradients survive float16, divides the gradients again, and leaves out steps whose
 * gradients are infinite or NaN, lowering the scale. All of it stays on the device: nothing is read, so nothing waits, and
 * a captured step can hold it.
 *
 * @source torch.amp.GradScaler; Micikevicius et al.: Mixed Precision Training (ICLR 2018)
 * @example
 * const loss = autocast(() => model.loss(x, y));
 * scaler.scale(loss).backward();
 * scaler.unscale_(optimizer); // only where gradients are clipped or looked at
 * clipGradNorm_(model.parameters(), 1);
 * scaler.step(optimizer);
 * scaler.update();
 */
export class GradScaler {
  private readonly rates: { growth: number; backoff: number; interval: number };
  private readonly initScale: number;
  readonly enabled: boolean;
  /** What lies on the device: the state, and whether an infinity was found since the last update. */
  private made: { readonly state: Tensor; readonly found: Tensor } | null = null;
  private readonly unscaled = new Set<Stepping>();

  /** @throws RangeError for factors or intervals that make no sense */
  constructor(options: GradScalerOptions = {}) {
    const { initScale = 2 ** 16, growthFactor = 2, backoffFactor = 0.5, growthInterval = 2000 } = options;
    const check = (name: string, value: number, fine: boolean, expected: string): void => {
      if (!fine) throw new RangeError(`GradScaler: expected ${name} to be ${expected}, got ${value}`);
    };
    check('initScale', initScale, initScale > 0 && initScale < 2 ** 127, 'a positive number');
    check('growthFactor', growthFactor, growthFactor > 1 && growthFactor < Infinity, 'above 1');
    check('backoffFactor', backoffFactor, backoffFactor > 0 && backoffFactor < 1, 'in (0, 1)');
    check(
      'growthInterval',
      growthInterval,
      Number.isInteger(growthInterval) && growthInterval > 0,
      'a positive integer',
    );
    this.rates = { growth: growthFactor, backoff: backoffFactor, interval: growthInterval };
    this.initScale = initScale;
    this.enabled = options.enabled ?? true;
  }

  /** loss · scale; call backward on it. */
  scale(loss: Tensor): Tensor {
    if (!this.enabled) return loss;
    const { storage, dtype } = this.on(loss.device).state;
    return mul(loss, new Tensor(storage.retain(), dtype, [], [], SCALER.scale, 'gradScaler'));
  }

  /**
   * Divides the gradients of an optimizer's parameters by the scale, in place; `step` does it where this was not called.
   *
   * @throws GradError at a second call before update(), and for gradients in float16: those have no room to be scaled back
   */
  unscale_(optimizer: Stepping): void {
    if (!this.enabled) return;
    if (this.unscaled.has(optimizer)) {
      throw new GradError(
        `GradScaler.unscale_: expected one call between updates, got a second for ${optimizer.name}; call update() after step()`,
      );
    }
    const grads = gradients(
      'GradScaler.unscale_',
      optimizer.paramGroups.flatMap((g) => g.params),
    );
    this.unscaled.add(optimizer);
    if (grads.length === 0) return;
    const half = grads.find((g) => g.dtype === 'float16');
    if (half) {
      throw new GradError(
        'GradScaler.unscale_: expected float32 gradients, got float16; keep the parameters in float32 and use autocast',
      );
    }
    const { state, found } = this.on(grads[0].device);
    executeInPlace(unscaleProgram, [state], [found, ...grads], null);
  }

  /** A step of the optimizer, left out where its gradients hold an infinity or NaN. */
  step(optimizer: Stepping): void {
    if (!this.enabled) {
      optimizer.step();
      return;
    }
    if (!this.unscaled.has(optimizer)) this.unscale_(optimizer);
    optimizer.step({ foundInf: this.made?.found });
  }

  /** Adjusts the scale after the optimizers' steps. */
  update(): void {
    this.unscaled.clear();
    if (this.made) executeInPlace(updateScaleProgram, [], [this.made.state, this.made.found], this.rates);
  }

  /** Reads the scale. */
  async getScale(): Promise<number> {
    if (!this.enabled) return 1;
    return this.made ? (await this.made.state.data())[SCALER.scale] : this.initScale;
  }

  /** Reads how many steps were left out. */
  async skippedSteps(): Promise<number> {
    return this.made ? (await this.made.state.data())[SCALER.skipped] : 0;
  }

  /** The state to be saved: the scaler's own tensor, not a copy. Empty before the first use. */
  stateDict(): GradScalerState {
    return { tensors: new Map(this.made ? [['state', this.made.state]] : []) };
  }

  /** Takes over a saved state. @throws DataError for a tensor of another shape */
  loadStateDict({ tensors }: GradScalerState): void {
    const t = tensors.get('state');
    if (!t) return;
    if (t.numel !== SCALER.size) {
      throw new DataError(
        `GradScaler.loadStateDict: expected a state of ${SCALER.size} numbers, got ${t.numel}`,
      );
    }
    executeInPlace(copyProgram, [t], [this.on(t.device).state], null);
  }

  /** The tensors on a device, made at the first use. */
  private on(device: Device): { readonly state: Tensor; readonly found: Tensor } {
    this.made ??= unscoped(() => ({
      state: fromHost([this.initScale, 0, 0], [SCALER.size], { device }, 'gradScaler'),
      found: fromHost([0], [], { device }, 'gradScaler'),
    }));
    const mine = this.made.state.device;
    if (mine !== device) {
      throw new GradError(
        `GradScaler: expected tensors on ${mine.info.name}, got one on ${device.info.name}; use a scaler for each device`,
      );
    }
    return this.made;
  }
}
