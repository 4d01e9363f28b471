import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseSafetensors, serializeSafetensors } from '../../src/data/safetensors.js';
import { readSafetensorsFile, writeSafetensorsFile } from '../../src/data/safetensors-file.js';
import { safetensorsEntry, toFloat32 } from '../../src/data/safetensors-values.js';
import { DataError } from '../../src/device/errors.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('safetensors files', () => {
  it('writes and reads a file, and leaves nothing else behind', async () => {
    const path = join(folder, 'model.safetensors');
    await writeSafetensorsFile(path, { w: safetensorsEntry(Float32Array.of(1, 2, 3)) });
    await writeSafetensorsFile(path, { w: safetensorsEntry(Float32Array.of(4, 5)) }, { step: '7' });
    const { tensors, metadata } = await readSafetensorsFile(path);
    expect(toFloat32(tensors.get('w')!)).toEqual(Float32Array.of(4, 5));
    expect(metadata).toEqual({ step: '7' });
    expect(await readdir(folder)).toEqual(['model.safetensors']);
  });

  it('keeps the old file and cleans up when writing fails', async () => {
    const path = join(folder, 'model.safetensors');
    const before = await readFile(path);
    const broken = { ...safetensorsEntry(Float32Array.of(1)), shape: [2] };
    await expect(writeSafetensorsFile(path, { w: broken })).rejects.toThrow(
      new DataError(`writeSafetensorsFile: ${path}: tensor "w": expected 8 bytes for F32 [2], got 4`),
    );
    expect(await readFile(path)).toEqual(before);
    const blocked = join(folder, 'model.safetensors', 'below-a-file');
    await expect(writeSafetensorsFile(blocked, {})).rejects.toThrow(DataError);
    expect(await readdir(folder)).toEqual(['model.safetensors']);
  });

  it('names the file in every error', async () => {
    const missing = join(folder, 'missing.safetensors');
    await expect(readSafetensorsFile(missing)).rejects.toThrow(
      new DataError(`readSafetensorsFile: ${missing}: ENOENT: no such file or directory, open '${missing}'`),
    );
    const short = join(folder, 'short.safetensors');
    await writeFile(short, serializeSafetensors({ w: safetensorsEntry(Float32Array.of(1)) }).subarray(0, -2));
    await expect(readSafetensorsFile(short)).rejects.toThrow(
      `readSafetensorsFile: ${short}: tensor "w": data_offsets [0, 4] end beyond the 2 data bytes`,
    );
    await expect(readSafetensorsFile(folder)).rejects.toThrow(`readSafetensorsFile: ${folder}: EISDIR`);
  });
});

const GPT2 = fileURLToPath(new URL('../../../shared/data/tiny-gpt2/model.safetensors', import.meta.url));

describe('a GPT-2 checkpoint from Hugging Face', () => {
  it('is read and round-trips', async ({ skip }) => {
    if (!existsSync(GPT2)) skip('no ../shared/data/tiny-gpt2 on this machine');
    const { tensors } = await readSafetensorsFile(GPT2);
    expect(tensors.get('wte.weight')).toMatchObject({ dtype: 'F32', shape: [50257, 2] });
    expect(tensors.get('h.0.attn.c_attn.weight')).toMatchObject({ dtype: 'F32', shape: [2, 6] });
    for (const entry of tensors.values()) expect(toFloat32(entry).every(Number.isFinite)).toBe(true);
    const again = parseSafetensors(serializeSafetensors(tensors));
    expect([...again.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
    const differing = [...tensors].filter(
      ([name, { data }]) => Buffer.compare(data, again.tensors.get(name)!.data) !== 0,
    );
    expect(differing).toEqual([]);
  });
});
