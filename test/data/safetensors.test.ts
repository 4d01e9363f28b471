import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  parseSafetensors,
  SAFETENSORS_ITEM_SIZE,
  type SafetensorsDType,
  type SafetensorsEntry,
  serializeSafetensors,
} from '../../src/data/safetensors.js';
import { safetensorsEntry, toFloat32, toFloat64, toInt32 } from '../../src/data/safetensors-values.js';
import { DataError } from '../../src/device/errors.js';

/** Written by safetensors 0.8.0 (`safetensors.numpy.save`), every type that numpy has in common with it. */
const GOLDEN = [
  'eAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCJ9LCJhLmxvbmciOnsiZHR5cGUiOiJJNjQiLCJzaGFwZSI6WzNd',
  'LCJkYXRhX29mZnNldHMiOlswLDI0XX0sImEuZG91YmxlIjp7ImR0eXBlIjoiRjY0Iiwic2hhcGUiOlsxLDFdLCJkYXRhX29mZnNl',
  'dHMiOlsyNCwzMl19LCJiLndlaWdodCI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMiwzXSwiZGF0YV9vZmZzZXRzIjpbMzIsNTZd',
  'fSwiZW1wdHkiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzAsNF0sImRhdGFfb2Zmc2V0cyI6WzU2LDU2XX0sInNjYWxhciI6eyJk',
  'dHlwZSI6IkYzMiIsInNoYXBlIjpbXSwiZGF0YV9vZmZzZXRzIjpbNTYsNjBdfSwiaWRzIjp7ImR0eXBlIjoiSTMyIiwic2hhcGUi',
  'OlsyXSwiZGF0YV9vZmZzZXRzIjpbNjAsNjhdfSwiYS5oYWxmIjp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOls1XSwiZGF0YV9vZmZz',
  'ZXRzIjpbNjgsNzhdfSwiesOpIjp7ImR0eXBlIjoiSTE2Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbNzgsODJdfSwidTgi',
  'OnsiZHR5cGUiOiJVOCIsInNoYXBlIjpbM10sImRhdGFfb2Zmc2V0cyI6WzgyLDg1XX0sIm1hc2siOnsiZHR5cGUiOiJCT09MIiwi',
  'c2hhcGUiOlszXSwiZGF0YV9vZmZzZXRzIjpbODUsODhdfX0gICAgIP//////////AAAAAAABAAAHAAAAAAAAABgtRFT7IQlAAADA',
  'PwAAEMBZ2QAzAOB/R83MzD0AAACAAAAgQPv///////9/AD6AwAEA/3tmLgEA/v8A/wMBAAE=',
].join('');

function goldenBytes(): Uint8Array {
  return new Uint8Array(Buffer.from(GOLDEN, 'base64'));
}

/** A file of any header text and data. */
function file(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const info = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const DTYPES = Object.keys(SAFETENSORS_ITEM_SIZE) as SafetensorsDType[];

const anyEntry: fc.Arbitrary<SafetensorsEntry> = fc
  .tuple(fc.constantFrom(...DTYPES), fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const bytes = shape.reduce((product, size) => product * size, SAFETENSORS_ITEM_SIZE[dtype]);
    return fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((data) => ({ dtype, shape, data }));
  });
const anyName = fc
  .string({ unit: 'grapheme' })
  .filter((name) => name !== '__metadata__' && !/\p{Surrogate}/u.test(name));
const anyFile = fc.tuple(
  fc.uniqueArray(fc.tuple(anyName, anyEntry), { selector: ([name]) => name, maxLength: 5 }),
  fc.uniqueArray(fc.tuple(anyName, anyName), { selector: ([name]) => name, maxLength: 3 }),
);

describe('parseSafetensors', () => {
  it('reads what the reference implementation wrote', () => {
    const { tensors, metadata } = parseSafetensors(goldenBytes());
    expect(metadata).toEqual({ format: 'np' });
    expect([...tensors.keys()]).toEqual([
      'a.long',
      'a.double',
      'b.weight',
      'empty',
      'scalar',
      'ids',
      'a.half',
      'zé',
      'u8',
      'mask',
    ]);
    expect(tensors.get('b.weight')).toMatchObject({ dtype: 'F32', shape: [2, 3] });
    expect(toFloat32(tensors.get('b.weight')!)).toEqual(Float32Array.of(1.5, -2.25, 3e-8, 65504, 0.1, -0));
    expect(toFloat32(tensors.get('a.half')!)).toEqual(
      Float32Array.of(1.5, -2.25, 2 ** -24, 65504, 0.0999755859375),
    );
    expect(toFloat64(tensors.get('a.double')!)).toEqual(Float64Array.of(Math.PI));
    expect(toFloat64(tensors.get('a.long')!)).toEqual(Float64Array.of(-1, 2 ** 40, 7));
    expect(toInt32(tensors.get('ids')!)).toEqual(Int32Array.of(-5, 2 ** 31 - 1));
    expect(toInt32(tensors.get('zé')!)).toEqual(Int32Array.of(1, -2));
    expect(toInt32(tensors.get('u8')!)).toEqual(Int32Array.of(0, 255, 3));
    expect(toInt32(tensors.get('mask')!)).toEqual(Int32Array.of(1, 0, 1));
    expect(tensors.get('scalar')!.shape).toEqual([]);
    expect(tensors.get('empty')).toMatchObject({ shape: [0, 4], data: new Uint8Array() });
  });

  it('reads a file that lies at an odd address, and a Node Buffer', () => {
    for (const shift of [1, 2, 3]) {
      const moved = new Uint8Array(GOLDEN.length + shift).subarray(shift, shift + goldenBytes().length);
      moved.set(goldenBytes());
      const { tensors } = parseSafetensors(Buffer.from(moved.buffer, moved.byteOffset, moved.length));
      expect(toFloat32(tensors.get('scalar')!)).toEqual(Float32Array.of(2.5));
      expect(toFloat64(tensors.get('a.double')!)).toEqual(Float64Array.of(Math.PI));
    }
  });

  it('takes header entries in any order, foreign fields, and keys that JavaScript treats specially', () => {
    const data = new Uint8Array(Float32Array.of(1, 2).buffer);
    const text = `{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8],"note":"x"},"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":null}  `;
    const { tensors, metadata } = parseSafetensors(file(text, data));
    expect([...tensors.keys()]).toEqual(['__proto__', 'b']);
    expect(metadata).toEqual({});
  });

  const twoTensors = new Uint8Array(8);
  it.each<[string, Uint8Array, string]>([
    ['an empty file', new Uint8Array(), 'expected at least 8 bytes for the header length, got a file of 0'],
    [
      'a header beyond the end',
      file({}).subarray(0, 9),
      'the header (bytes 8 to 10) ends beyond the file of 9 bytes; is it truncated?',
    ],
    [
      'another kind of file',
      new TextEncoder().encode('PK\u0003\u0004 a zip file'),
      'the header length (bytes 0 to 8) is 8800140462016121680, over the limit of 100000000; is this a safetensors file?',
    ],
    ['no header', file(''), 'the header (bytes 8 to 8) is not JSON: Unexpected end of JSON input'],
    ['a header that is not text', file('{}').fill(0xff, 8), 'the header (bytes 8 to 10) is not UTF-8 text'],
    ['an array', file([]), 'the header (bytes 8 to 10): expected a JSON object, got []'],
    [
      'a repeated name',
      file(`{"a\\u0062":${JSON.stringify(info(0, 4))}, "ab" :${JSON.stringify(info(4, 8))}}`, twoTensors),
      'the header (bytes 8 to 124) holds the key "ab" twice',
    ],
    [
      'a repeated field',
      file('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}', twoTensors),
      'the header (bytes 8 to 74) holds the key "shape" twice',
    ],
    [
      'metadata that are not strings',
      file({ __metadata__: { step: 3 } }),
      '__metadata__: "step": expected a string, got 3',
    ],
    [
      'metadata of another kind',
      file({ __metadata__: [1] }),
      '__metadata__: expected an object of strings, got [1]',
    ],
    [
      'an entry without fields',
      file({ w: 'F32' }),
      'tensor "w": expected an object with dtype, shape and data_offsets, got "F32"',
    ],
    [
      'an unknown dtype',
      file({ w: info(0, 4, [1], 'F8_E4M3') }),
      'tensor "w": expected a dtype of BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, got "F8_E4M3"',
    ],
    [
      'a missing shape',
      file({ w: { dtype: 'F32' } }),
      'tensor "w": expected a shape of non-negative integers, got nothing',
    ],
    [
      'a negative size',
      file({ w: info(0, 4, [-1]) }),
      'tensor "w": expected a shape of non-negative integers, got [-1]',
    ],
    [
      'a broken size',
      file({ w: info(0, 4, [0.5]) }),
      'tensor "w": expected a shape of non-negative integers, got [0.5]',
    ],
    [
      'a hostile shape',
      file({ w: info(0, 4, [{ toString: 1, toJSON: 2 }, [[]], 'x', null]) }),
      'tensor "w": expected a shape of non-negative integers, got […, …, "x", …]',
    ],
    [
      'an overflowing shape',
      file({ w: info(0, 4, [2 ** 40, 2 ** 40]) }),
      'tensor "w": F32 [1099511627776, 1099511627776] is more bytes than a file can hold',
    ],
    [
      'one offset',
      file({ w: { dtype: 'F32', shape: [1], data_offsets: [0] } }),
      'tensor "w": expected data_offsets [begin, end], got [0]',
    ],
    [
      'offsets the wrong way round',
      file({ w: info(4, 0, [1]) }),
      'tensor "w": data_offsets [4, 0] end before they begin',
    ],
    [
      'a size that does not fit the shape',
      file({ w: info(0, 8, [3]) }, twoTensors),
      'tensor "w": expected 12 bytes for F32 [3], got 8 (data_offsets [0, 8])',
    ],
    [
      'a truncated tensor',
      file({ w: info(0, 8) }, twoTensors).subarray(0, -1),
      'tensor "w": data_offsets [0, 8] end beyond the 7 data bytes (file of 69 bytes); is it truncated?',
    ],
    [
      'overlapping tensors',
      file({ v: info(0, 8), w: info(4, 8) }, twoTensors),
      'tensor "w": data_offsets [4, 8] overlap tensor "v"; expected them to begin at 8',
    ],
    [
      'a hole',
      file({ v: info(0, 4), w: info(8, 12) }, new Uint8Array(12)),
      'tensor "w": data_offsets [8, 12] leave a hole of 4 bytes after tensor "v"; expected them to begin at 4',
    ],
    [
      'a hole at the beginning',
      file({ w: info(4, 8) }, twoTensors),
      'tensor "w": data_offsets [4, 8] leave a hole of 4 bytes after the header; expected them to begin at 0',
    ],
    [
      'bytes at the end',
      file({ w: info(0, 4) }, twoTensors),
      '4 bytes after tensor "w" belong to no tensor (data of 8 bytes, used up to 4)',
    ],
    ['not bytes at all', 'text' as unknown as Uint8Array, 'expected a Uint8Array, got "text"'],
  ])('says where the fault is: %s', (_, bytes, message) => {
    expect(() => parseSafetensors(bytes)).toThrow(new DataError(`safetensors: ${message}`));
  });

  it('survives a header nested thousands of levels deep', () => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    expect(() =>
      parseSafetensors(file(`{"w":{"dtype":"F32","shape":${deep},"data_offsets":[0,4]}}`)),
    ).toThrow(DataError);
    expect(() => parseSafetensors(file(deep))).toThrow(DataError);
  });

  it('throws a DataError on every truncation', () => {
    const golden = goldenBytes();
    for (let length = 0; length < golden.length; length++) {
      expect(() => parseSafetensors(golden.subarray(0, length))).toThrow(DataError);
    }
  });

  it('parses or throws a DataError, whatever single byte is corrupted', () => {
    const golden = goldenBytes();
    let parsed = 0;
    for (let at = 0; at < golden.length; at++) {
      for (const flip of [0x01, 0x02, 0x08, 0x10, 0x80, 0xff]) {
        const bytes = golden.slice();
        bytes[at] ^= flip;
        if (parsesSoundly(bytes)) parsed++;
      }
    }
    // At least each of the 88 data bytes may hold anything.
    expect(parsed).toBeGreaterThanOrEqual(88 * 6);
  });

  it('parses or throws a DataError on corrupted files of all shapes', () => {
    fc.assert(
      fc.property(
        anyFile,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        ([tensors, metadata], at, flip, cut) => {
          const bytes = serializeSafetensors(new Map(tensors), Object.fromEntries(metadata));
          const place = at % bytes.length;
          if (cut) return !parsesSoundly(bytes.subarray(0, place));
          bytes[place] ^= flip;
          parsesSoundly(bytes);
          return true;
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** Whether the file parses; fails the test on any error but a DataError, or a tensor whose bytes do not fit it. */
function parsesSoundly(bytes: Uint8Array): boolean {
  let contents: ReturnType<typeof parseSafetensors>;
  try {
    contents = parseSafetensors(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(DataError);
    return false;
  }
  const sizes = [...contents.tensors.values()].map(({ dtype, shape, data }) => {
    expect(data.length).toBe(shape.reduce((product, size) => product * size, SAFETENSORS_ITEM_SIZE[dtype]));
    return data.length;
  });
  const headerLength = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  expect(sizes.reduce((total, size) => total + size, 0)).toBe(bytes.length - 8 - headerLength);
  return true;
}

describe('serializeSafetensors', () => {
  it('writes the bytes that the reference implementation writes', () => {
    const { tensors, metadata } = parseSafetensors(goldenBytes());
    const shuffled = new Map([...tensors].reverse());
    expect(serializeSafetensors(shuffled, metadata)).toEqual(goldenBytes());
    expect(serializeSafetensors(Object.fromEntries(shuffled), metadata)).toEqual(goldenBytes());
  });

  it('round-trips any tensors and metadata bit for bit', () => {
    fc.assert(
      fc.property(anyFile, ([tensors, metadata]) => {
        const bytes = serializeSafetensors(new Map(tensors), Object.fromEntries(metadata));
        const contents = parseSafetensors(bytes);
        expect(new Map([...contents.tensors].sort())).toEqual(new Map([...tensors].sort()));
        expect(contents.metadata).toEqual(Object.fromEntries(metadata));
        expect(serializeSafetensors(contents.tensors, contents.metadata)).toEqual(bytes);
        const headerLength = Number(new DataView(bytes.buffer).getBigUint64(0, true));
        expect(headerLength % 8).toBe(0);
      }),
    );
  });

  it('sorts names by code point, as Rust does, not by UTF-16 unit', () => {
    const one = safetensorsEntry(Uint8Array.of(1));
    const names = ['\u{1F600}', '\uFF5E', 'z', '10', '9'];
    const bytes = serializeSafetensors(new Map(names.map((name) => [name, one])));
    expect([...parseSafetensors(bytes).tensors.keys()]).toEqual(['10', '9', 'z', '\uFF5E', '\u{1F600}']);
  });

  it('writes an empty file as the reference does', () => {
    expect([...serializeSafetensors({})]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, 123, 125, 32, 32, 32, 32, 32, 32]);
  });

  const entry = safetensorsEntry(Float32Array.of(1, 2));
  it.each<[string, () => unknown, string]>([
    [
      'a shape that does not fit',
      () => serializeSafetensors({ w: { ...entry, shape: [3] } }),
      'tensor "w": expected 12 bytes for F32 [3], got 8',
    ],
    [
      'a reserved name',
      () => serializeSafetensors({ __metadata__: entry }),
      'tensor "__metadata__": this name is reserved',
    ],
    [
      'a name that is not text',
      () => serializeSafetensors({ 'a\ud800': entry }),
      'tensor "a\\ud800": half a surrogate pair is not text',
    ],
    [
      'a missing dtype',
      () => serializeSafetensors({ w: { ...entry, dtype: 'float32' as 'F32' } }),
      'tensor "w": expected a dtype of BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, got "float32"',
    ],
    [
      'data of another kind',
      () => serializeSafetensors({ w: { ...entry, data: Float32Array.of(1) as unknown as Uint8Array } }),
      'tensor "w": expected data as a Uint8Array, got object Float32Array',
    ],
    [
      'a bigint shape',
      () => serializeSafetensors({ w: { ...entry, shape: [2n] as unknown as number[] } }),
      'tensor "w": expected a shape of non-negative integers, got [2n]',
    ],
    [
      'metadata that are no strings',
      () => serializeSafetensors({}, { step: 3 as unknown as string }),
      'metadata "step": expected a string, got 3',
    ],
  ])('refuses %s', (_, write, message) => {
    expect(write).toThrow(new DataError(`safetensors: ${message}`));
  });
});

describe('element types', () => {
  it('keeps every float16 through float32 and back', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const half: SafetensorsEntry = { dtype: 'F16', shape: [65536], data: new Uint8Array(bits.buffer) };
    const again = new Uint16Array(safetensorsEntry(toFloat32(half), half.shape, 'F16').data.buffer);
    const wrong = bits.filter((_, i) => {
      const isNaN16 = (bits[i] & 0x7fff) > 0x7c00;
      return isNaN16 ? (again[i] & 0x7fff) <= 0x7c00 : again[i] !== bits[i];
    });
    expect([...wrong]).toEqual([]);
  });

  it('keeps every bfloat16 through float32 and back', () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const entry: SafetensorsEntry = { dtype: 'BF16', shape: [65536], data: new Uint8Array(bits.buffer) };
    const again = new Uint16Array(safetensorsEntry(toFloat32(entry), entry.shape, 'BF16').data.buffer);
    const wrong = bits.filter((_, i) => {
      const isNaN16 = (bits[i] & 0x7fff) > 0x7f80;
      return isNaN16 ? (again[i] & 0x7fff) <= 0x7f80 : again[i] !== bits[i];
    });
    expect([...wrong]).toEqual([]);
  });

  it('rounds to the nearest bfloat16, ties to even', () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001).buffer)[0];
    const values = Float32Array.of(
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -8 + 2 ** -20,
      -3.4e38,
      0.1,
      nan,
      -0,
    );
    const rounded = toFloat32(safetensorsEntry(values, undefined, 'BF16'));
    expect(rounded).toEqual(Float32Array.of(1, 1 + 2 ** -6, 1 + 2 ** -7, -Infinity, 0.10009765625, NaN, -0));
  });

  it('rounds to the nearest float16, ties to even', () => {
    const values = Float32Array.of(1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, 2 ** -24, NaN, -0);
    const rounded = toFloat32(safetensorsEntry(values, undefined, 'F16'));
    expect(rounded).toEqual(Float32Array.of(1, 1 + 2 ** -9, 65504, Infinity, 0, 2 ** -24, NaN, -0));
  });

  it('stores each typed array as its own type and reads it back', () => {
    const arrays = [
      Int8Array.of(-128, 127),
      Int16Array.of(-32768, 32767),
      Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
      BigInt64Array.of(-3n, 5n),
      Uint8Array.of(0, 255),
      Uint16Array.of(0, 65535),
      Uint32Array.of(0, 7),
      BigUint64Array.of(0n, 9n),
    ];
    const dtypes = arrays.map((values) => safetensorsEntry(values).dtype);
    expect(dtypes).toEqual(['I8', 'I16', 'I32', 'I64', 'U8', 'U16', 'U32', 'U64']);
    for (const values of arrays) {
      const numbers = Array.from(values as ArrayLike<number | bigint>, Number);
      const entry = safetensorsEntry(values);
      expect([...toInt32(entry)]).toEqual(numbers);
      expect([...toFloat64(entry)]).toEqual(numbers);
      expect([...toFloat32(entry)]).toEqual(numbers.map(Math.fround));
    }
    expect(toFloat32(safetensorsEntry(Float64Array.of(0.1)))).toEqual(Float32Array.of(0.1));
    expect(toFloat64(safetensorsEntry(Float64Array.of(0.1), [1], 'F32'))).toEqual(
      Float64Array.of(Math.fround(0.1)),
    );
    expect(toInt32(safetensorsEntry(Uint8Array.of(0, 2), [2], 'BOOL'))).toEqual(Int32Array.of(0, 1));
  });

  it('refuses conversions that would lose the value', () => {
    expect(() => toInt32(safetensorsEntry(Float32Array.of(1)))).toThrow(
      new DataError('toInt32: expected an integer or bool tensor, got F32; use toFloat32'),
    );
    expect(() => toInt32(safetensorsEntry(BigInt64Array.of(1n, 2n ** 31n)))).toThrow(
      new DataError('toInt32: expected elements between −2³¹ and 2³¹−1, got 2147483648 at 1 of I64'),
    );
    expect(() => safetensorsEntry(Int32Array.of(1), [1], 'F32')).toThrow(
      new DataError('safetensorsEntry: cannot store a Int32Array as F32'),
    );
    expect(() => toFloat32({ dtype: 'F32', data: new Uint8Array(7) })).toThrow(
      new DataError('safetensors: 7 bytes are not whole elements of 4'),
    );
  });
});
