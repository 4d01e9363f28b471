import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Parameter } from '../../src/nn/parameter.js';
import { Adam } from '../../src/optim/adam.js';
import { NoamLR } from '../../src/optim/noam.js';
import { OneCycleLR } from '../../src/optim/one-cycle.js';
import { ReduceLROnPlateau } from '../../src/optim/plateau.js';
import {
  type AnyOptimizer,
  CosineAnnealingLR,
  LambdaLR,
  LRScheduler,
  StepLR,
  WarmupCosineLR,
} from '../../src/optim/scheduler.js';
import { SGD } from '../../src/optim/sgd.js';
import { tensor } from '../../src/tensor/factories.js';
import { difference } from '../support/each-device.js';

interface Step {
  lr: number[];
  momentum: number[];
}
const golden = JSON.parse(readFileSync(new URL('../golden/nn-optim.json', import.meta.url), 'utf8')) as {
  metrics: number[];
  schedulers: Record<string, Step[]>;
};

function optimizer(kind = 'SGD'): AnyOptimizer {
  const groups = [0.5, 0.125].map((lr) => ({ params: [new Parameter(tensor([0]))], lr }));
  return kind === 'SGD' ? new SGD(groups, { lr: 1, momentum: 0.9 }) : new Adam(groups);
}

type Made = LRScheduler | ReduceLROnPlateau;
const MAKE: Record<string, (o: AnyOptimizer) => Made> = {
  step: (o) => new StepLR(o, { stepSize: 3, gamma: 0.5 }),
  cosine: (o) => new CosineAnnealingLR(o, { tMax: 8, etaMin: 0.01 }),
  lambda: (o) => new LambdaLR(o, [(e) => 1 / (1 + e), (e) => 0.9 ** e]),
  warmupCosine: (o) => new WarmupCosineLR(o, { warmupSteps: 4, totalSteps: 12 }),
  noam: (o) => new NoamLR(o, { dim: 16, warmupSteps: 4 }),
  oneCycle: (o) => new OneCycleLR(o, { maxLr: [1, 0.25], totalSteps: 10 }),
  oneCycleLinear: (o) =>
    new OneCycleLR(o, {
      maxLr: 0.5,
      totalSteps: 12,
      pctStart: 0.25,
      annealStrategy: 'linear',
      divFactor: 10,
    }),
  plateau: (o) => new ReduceLROnPlateau(o, { factor: 0.5, patience: 2 }),
  plateauMax: (o) =>
    new ReduceLROnPlateau(o, {
      mode: 'max',
      factor: 0.3,
      patience: 0,
      threshold: 0.5,
      thresholdMode: 'abs',
      cooldown: 2,
      minLr: 0.02,
    }),
};

function advance(scheduler: Made, i: number): void {
  if (scheduler instanceof LRScheduler) scheduler.step();
  else scheduler.step(golden.metrics[i]);
}

describe('schedulers follow PyTorch', () => {
  for (const [name, steps] of Object.entries(golden.schedulers)) {
    const kind = name === 'oneCycleLinear' ? 'Adam' : 'SGD';
    const momentum = (o: AnyOptimizer) =>
      o.paramGroups.map((g) => (kind === 'Adam' ? g.betas[0] : g.momentum));

    it(name, () => {
      const o = optimizer(kind);
      const scheduler = MAKE[name](o);
      steps.forEach((step, i) => {
        expect(difference(scheduler.getLastLr(), step.lr)).toBeLessThan(1e-12);
        expect(difference(momentum(o), step.momentum)).toBeLessThan(1e-12);
        advance(scheduler, i);
      });
    });

    it(`${name}, saved half-way and loaded`, () => {
      const o = optimizer(kind);
      const scheduler = MAKE[name](o);
      const half = Math.floor(steps.length / 2);
      for (let i = 0; i < half; i++) advance(scheduler, i);
      const other = optimizer(kind);
      const loaded = MAKE[name](other);
      other.loadStateDict({ tensors: new Map(), scalars: JSON.parse(JSON.stringify(o.stateDict().scalars)) });
      loaded.loadStateDict(JSON.parse(JSON.stringify(scheduler.stateDict())));
      for (let i = half; i < steps.length; i++) {
        expect(difference(loaded.getLastLr(), steps[i].lr)).toBeLessThan(1e-12);
        expect(difference(momentum(other), steps[i].momentum)).toBeLessThan(1e-12);
        advance(loaded, i);
      }
    });
  }
});

describe('schedulers', () => {
  it('keep a floor', () => {
    const scheduler = new WarmupCosineLR(optimizer(), { warmupSteps: 0, totalSteps: 4, minFactor: 0.5 });
    expect(scheduler.getLastLr()).toEqual([0.5, 0.125]);
    for (let i = 0; i < 9; i++) scheduler.step();
    expect(scheduler.getLastLr()).toEqual([0.25, 0.0625]);
  });

  it('say what is wrong', () => {
    const o = optimizer();
    expect(() => new StepLR(o, { stepSize: 0 })).toThrow('StepLR: expected a stepSize of at least 1, got 0');
    expect(() => new CosineAnnealingLR(o, { tMax: 0 })).toThrow(
      'CosineAnnealingLR: expected a tMax above 0, got 0',
    );
    expect(() => new WarmupCosineLR(o, { warmupSteps: 5, totalSteps: 4 })).toThrow(
      'WarmupCosineLR: expected 0 ≤ warmupSteps ≤ totalSteps, got 5 and 4',
    );
    expect(() => new NoamLR(o, { dim: 16, warmupSteps: 0 })).toThrow(
      'NoamLR: expected dim and warmupSteps of at least 1, got 16 and 0',
    );
    expect(() => new LambdaLR(o, [() => 1])).toThrow('LambdaLR: expected one function or 2 of them, got 1');
    expect(() => new OneCycleLR(o, { maxLr: [1], totalSteps: 4 })).toThrow(
      'OneCycleLR: expected a maxLr or one for each of 2 groups, got 1',
    );
    expect(() => new ReduceLROnPlateau(o, { factor: 1 })).toThrow(
      'ReduceLROnPlateau: expected a factor below 1, got 1',
    );
    const cycle = new OneCycleLR(o, { maxLr: 1, totalSteps: 2 });
    cycle.step();
    cycle.step();
    expect(() => cycle.step()).toThrow('OneCycleLR: expected at most 2 steps, got step 3');
    expect(() => cycle.loadStateDict(new StepLR(o, { stepSize: 1 }).stateDict())).toThrow(
      'OneCycleLR.loadStateDict: expected the state of OneCycleLR, got that of StepLR',
    );
  });
});
