import { afterEach, describe, expect, it } from 'vitest';
import { DataError, ShapeError, sparseLinear, tensor, Wiring } from '../../src/index.js';
import { cpuDevice, setDefaultDevice } from '../../src/tensor/default-device.js';

afterEach(() => setDefaultDevice(null));

describe('Wiring', () => {
  it('orders wires by target and then by source, whatever order they come in', () => {
    const wiring = new Wiring(4, 3, [3, 0, 2, 1, 0], [2, 2, 0, 2, 0]);
    expect([...wiring.targets]).toEqual([0, 0, 2, 2, 2]);
    expect([...wiring.sources]).toEqual([0, 2, 0, 1, 3]);
    expect(wiring.length).toBe(5);
  });

  it('lies on a device in both orders, made once', async () => {
    const wiring = new Wiring(3, 2, [2, 0, 0], [0, 0, 1]);
    const tensors = wiring.on(cpuDevice());
    expect(wiring.on(cpuDevice())).toBe(tensors);
    const numbers = async (t: { data(): Promise<ArrayLike<number>> }) => Array.from(await t.data());
    expect(await numbers(tensors.starts)).toEqual([0, 2, 3]);
    expect(await numbers(tensors.sources)).toEqual([0, 2, 0]);
    expect(await numbers(tensors.targets)).toEqual([0, 0, 1]);
    // Ordered by source: 0 → 0 (wire 0), 0 → 1 (wire 2), 2 → 0 (wire 1).
    expect(await numbers(tensors.backward.starts)).toEqual([0, 2, 2, 3]);
    expect(await numbers(tensors.backward.targets)).toEqual([0, 1, 0]);
    expect(await numbers(tensors.backward.wires)).toEqual([0, 2, 1]);
    wiring.release();
    expect(tensors.starts.isReleased).toBe(true);
    const y = sparseLinear(tensor([1, 2, 3]), tensor([10, 1, 5]), wiring);
    expect(await numbers(y)).toEqual([13, 5]);
  });

  it('has a fingerprint of its wires', () => {
    const one = new Wiring(3, 2, [2, 0, 0], [0, 0, 1]);
    expect(new Wiring(3, 2, [0, 2, 0], [1, 0, 0]).fingerprint).toBe(one.fingerprint);
    expect(new Wiring(3, 2, [1, 0, 0], [0, 0, 1]).fingerprint).not.toBe(one.fingerprint);
    expect(new Wiring(4, 2, [2, 0, 0], [0, 0, 1]).fingerprint).not.toBe(one.fingerprint);
    expect(one.fingerprint).toMatch(/^[0-9a-f]{8}$/);
  });

  it('says what is wrong', () => {
    expect(() => new Wiring(3, 2, [0, 1], [0])).toThrow(
      new ShapeError('Wiring: expected as many targets as sources, got 1 and 2'),
    );
    expect(() => new Wiring(3, 2, [0, 3], [0, 1])).toThrow(
      new ShapeError('Wiring: expected sources in [0, 3), got 3 at wire 1'),
    );
    expect(() => new Wiring(3, 2, [0, 1], [-1, 1])).toThrow(
      new ShapeError('Wiring: expected targets in [0, 2), got -1 at wire 0'),
    );
    expect(() => new Wiring(3, 2, [1, 0, 1], [0, 0, 0])).toThrow(
      new DataError('Wiring: expected each wire once, got 1 → 0 twice'),
    );
  });
});
