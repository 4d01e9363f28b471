/** Whether gradients reach what is to be trained, and nothing else. */
import { noGrad } from '../autograd/mode.js';
import type { Module } from '../nn/module.js';
import { keep, scope } from '../tensor/lifetime.js';
import { defaultGenerator } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Finding, finding } from './finding.js';

/** How many names a message lists before it counts the rest. */
const LISTED = 4;

function list(names: readonly string[]): string {
  const shown = names.slice(0, LISTED).join(', ');
  return names.length > LISTED ? `${shown} and ${names.length - LISTED} more` : shown;
}

/**
 * Computes one loss and its gradients, changes nothing, and looks at what came: every trainable parameter needs a gradient
 * that is finite and not all zero, and no other parameter may have one.
 *
 * @param loss the scalar loss of some batch, as in training
 * @param options `shouldTrain`: which parameters are meant to be trained, by name; default: those that require gradients
 */
export async function checkGradients(
  model: Module,
  loss: () => Tensor,
  { shouldTrain }: { shouldTrain?: (name: string) => boolean } = {},
): Promise<Finding[]> {
  const named = model.namedParameters();
  const out: Finding[] = [];
  const trainable = named.filter(([, p]) => p.requiresGrad).map(([name]) => name);
  const frozen = named.filter(([, p]) => !p.requiresGrad).map(([name]) => name);
  if (trainable.length === 0) {
    return [
      finding(
        'error',
        'nothing-trains',
        `expected trainable parameters, got none: all ${named.length} are frozen (requiresGrad is false); the target names of LoRA match no module, or requiresGrad_(false) was called on the whole model`,
      ),
    ];
  }
  if (shouldTrain) {
    const thawed = trainable.filter((name) => !shouldTrain(name));
    if (thawed.length > 0) {
      out.push(
        finding(
          'warning',
          'frozen-trains',
          `expected frozen parameters to stay frozen, got ${thawed.length} that would be trained: ${list(thawed)}; freeze the base before the adapters are made`,
        ),
      );
    }
  }
  const random = defaultGenerator.getState();
  let value: number;
  const largest = new Map<string, number | null>();
  try {
    const l = scope(() => {
      const total = loss();
      if (total.requiresGrad) total.backward();
      return keep(total.detach());
    });
    value = await l.item();
    l.release();
    for (const [name, p] of named) {
      const { grad } = p;
      if (!grad) {
        largest.set(name, null);
        continue;
      }
      const max = scope(() => noGrad(() => keep(grad.abs().amax())));
      largest.set(name, await max.item());
      max.release();
    }
  } finally {
    model.zeroGrad();
    defaultGenerator.setState(random);
  }
  if (!Number.isFinite(value)) {
    out.push(
      finding(
        'error',
        'loss-not-finite',
        `expected a finite loss of the first batch, got ${value}: weights with NaN or infinite values, or a batch in which no target counts`,
      ),
    );
  }
  const leaked = frozen.filter((name) => largest.get(name) !== null);
  if (leaked.length > 0) {
    out.push(
      finding(
        'warning',
        'frozen-gradients',
        `expected no gradients of frozen parameters, got them for ${list(leaked)}: memory and time go into gradients that nobody uses, and an optimizer that holds them would train them`,
      ),
    );
  }
  const missing = trainable.filter((name) => largest.get(name) === null);
  if (missing.length > 0) {
    out.push(
      finding(
        'warning',
        'gradients-missing',
        `expected a gradient for each of ${trainable.length} trainable parameters, got none for ${list(missing)}: the loss does not depend on them (detach(), noGrad, or a module that forward never calls)`,
      ),
    );
  }
  const broken = trainable.filter(
    (name) => Number.isNaN(largest.get(name) ?? 0) || largest.get(name) === Infinity,
  );
  if (broken.length > 0 && Number.isFinite(value)) {
    out.push(
      finding(
        'warning',
        'gradients-not-finite',
        `expected finite gradients, got NaN or infinity for ${list(broken)}: detectAnomaly names the operation they come from`,
      ),
    );
  }
  const zero = trainable.filter((name) => largest.get(name) === 0);
  const still = zero.filter((name) => !waitsForPartner(name, largest));
  if (still.length > 0) {
    out.push(
      finding(
        'warning',
        'gradients-zero',
        `expected gradients that are not zero for ${trainable.length} trainable parameters, got all zeros for ${list(still)}: they will not move; a layer after them that gives zeros (dead activations, weights of zero) or a mask over everything is the likely cause`,
      ),
    );
  }
  return out;
}

/** LoRA starts with B = 0, so A has no gradient in the first step; it is alive where B has one. */
function waitsForPartner(name: string, largest: ReadonlyMap<string, number | null>): boolean {
  const partner = name.replace('lora_A', 'lora_B');
  return partner !== name && (largest.get(partner) ?? 0) !== 0;
}
