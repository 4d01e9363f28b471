import { expect, it } from 'vitest';
import { DataLoader } from '../../src/data/data-loader.js';
import { DataError } from '../../src/device/errors.js';
import { consecutiveWindows, Epochs, RandomWindows } from '../../src/train/batches.js';

const ids = Int32Array.from({ length: 50 }, (_, i) => i);

it('Epochs goes through a DataLoader for ever, each epoch in another order, and resumes anywhere', async () => {
  const make = () => {
    const dataset = { length: 7, get: async (i: number) => i };
    return new Epochs(
      new DataLoader(dataset, { batchSize: 2, shuffle: true, seed: 3, collate: (items) => items }),
    );
  };
  const source = make();
  const all: number[][] = [];
  const states: unknown[] = [];
  for (let i = 0; i < 13; i++) {
    states.push(JSON.parse(JSON.stringify(source.state())));
    all.push(await source.next());
  }
  for (const epoch of [0, 1, 2]) {
    const seen = all.slice(4 * epoch, 4 * epoch + 4).flat();
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  }
  expect(all.slice(0, 4)).not.toEqual(all.slice(4, 8));
  for (const from of [1, 3, 4, 6]) {
    const resumed = make();
    resumed.load(states[from]);
    const rest: number[][] = [];
    for (let i = from; i < 13; i++) rest.push(await resumed.next());
    expect(rest, `from batch ${from}`).toEqual(all.slice(from));
  }
});

it('RandomWindows shifts targets by one and resumes by its count', () => {
  const source = new RandomWindows(ids, 3, 4, 1);
  const first = source.next();
  expect(first.shape).toEqual([3, 4]);
  first.input.forEach((id, i) => {
    expect(first.target[i]).toBe(id + 1);
  });
  const state = source.state();
  const second = source.next();
  const again = new RandomWindows(ids, 3, 4, 1);
  again.load(state);
  expect(again.next()).toEqual(second);
  expect(() => again.load('x')).toThrow(
    new DataError('RandomWindows: expected a batch count as state, got "x"'),
  );
  expect(() => new RandomWindows(ids.subarray(0, 4), 1, 4, 1)).toThrow(
    new DataError('RandomWindows: expected at least 5 tokens for a window, got 4'),
  );
});

it('consecutiveWindows covers a text once', () => {
  const batches = consecutiveWindows(ids, 5, 4);
  expect(batches.map((b) => b.shape)).toEqual([
    [5, 4],
    [5, 4],
    [2, 4],
  ]);
  expect(batches.flatMap((b) => [...b.input])).toEqual(Array.from({ length: 48 }, (_, i) => i));
  expect(batches.flatMap((b) => [...b.target])).toEqual(Array.from({ length: 48 }, (_, i) => i + 1));
});
