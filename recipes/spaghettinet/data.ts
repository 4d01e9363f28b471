/** Points in the plane made here, passengers, and pictures of clothes: examples with classes, split in three. */
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DataError, data } from '../../src/index.js';
import { type Passenger, readPassengers } from '../titanic/passengers.js';

export const DATASETS = ['moons', 'spirals', 'titanic', 'fashion'] as const;
export type DatasetName = (typeof DATASETS)[number];

/** Rows of `width` features and the class of each. */
export interface Examples {
  readonly x: Float32Array;
  readonly y: Int32Array;
}

/** Features of mean 0 and variance 1 over the training examples. */
export interface Dataset {
  readonly name: DatasetName;
  readonly width: number;
  readonly classes: number;
  readonly train: Examples;
  readonly validation: Examples;
  readonly test: Examples;
}

/** Where files lie. */
export interface DataPaths {
  readonly titanic: string;
  readonly fashion: string | null;
}

/** A data set that is not on this machine. */
export class Missing extends Error {}

/** @throws Missing with the reason, where its files are not there */
export async function loadDataset(name: DatasetName, seed: number, paths: DataPaths): Promise<Dataset> {
  const random = new data.HostRandom(seed * 1000 + DATASETS.indexOf(name));
  switch (name) {
    case 'moons':
      return made(name, 2, (n) => moons(n, random), [500, 250, 1000]);
    case 'spirals':
      return made(name, 3, (n) => spirals(n, random), [900, 450, 1000]);
    case 'titanic':
      return titanic(paths.titanic, random);
    case 'fashion':
      return fashion(paths.fashion, random);
  }
}

function made(
  name: DatasetName,
  classes: number,
  make: (count: number) => Examples,
  [train, validation, test]: readonly [number, number, number],
): Dataset {
  return standardized({
    name,
    width: 2,
    classes,
    train: make(train),
    validation: make(validation),
    test: make(test),
  });
}

/** A standard normal number. @source Box and Muller (1958) */
function normal(random: data.HostRandom): number {
  return Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
}

/** Two half circles of radius 1, one in the bend of the other, with noise of deviation 0.25. @source sklearn.datasets.make_moons */
export function moons(count: number, random: data.HostRandom): Examples {
  return points(count, (i) => {
    const angle = Math.PI * random.uniform();
    const [x, y] =
      i % 2 === 0 ? [Math.cos(angle), Math.sin(angle)] : [1 - Math.cos(angle), 0.5 - Math.sin(angle)];
    return [x + 0.25 * normal(random), y + 0.25 * normal(random), i % 2];
  });
}

/** Three arms that wind one and a half times around the origin, with noise of deviation 0.03. */
export function spirals(count: number, random: data.HostRandom): Examples {
  return points(count, (i) => {
    const t = Math.sqrt(random.uniform());
    const angle = 2 * Math.PI * ((i % 3) / 3 + 1.5 * t);
    const radius = 0.1 + 0.9 * t;
    return [
      radius * Math.cos(angle) + 0.03 * normal(random),
      radius * Math.sin(angle) + 0.03 * normal(random),
      i % 3,
    ];
  });
}

function points(count: number, make: (i: number) => readonly [number, number, number]): Examples {
  const x = new Float32Array(2 * count);
  const y = new Int32Array(count);
  for (let i = 0; i < count; i++) [x[2 * i], x[2 * i + 1], y[i]] = make(i);
  return { x, y };
}

/** Class, sex, age (missing ones the median of all, with a flag), relatives aboard, fare, port. */
export const TITANIC_FEATURES = [
  'first class',
  'second class',
  'female',
  'age',
  'age unknown',
  'siblings and spouse',
  'parents and children',
  'log fare',
  'from Cherbourg',
  'from Queenstown',
] as const;

async function titanic(path: string, random: data.HostRandom): Promise<Dataset> {
  if (!existsSync(path)) throw new Missing(`no ${path}; give the file with --titanic`);
  const passengers = await readPassengers(path, { labelled: true });
  const labels = passengers.map(({ survived }) => survived as number);
  const lived = labels.filter((label) => label === 1).length;
  if (Math.min(lived, labels.length - lived) < 5) {
    throw new DataError(
      `titanic: expected at least 5 passengers of each fate in ${path}, got ${lived} who survived and ${labels.length - lived} who drowned`,
    );
  }
  const parts = split(labels, random);
  // Filled from training passengers alone: the others must stay unknown.
  const ages = parts[0].flatMap((i) => passengers[i].age ?? []).sort((a, b) => a - b);
  const median = ages[Math.floor(ages.length / 2)] ?? 0;
  const features = (passenger: Passenger): number[] => {
    const known = <F extends keyof Passenger>(field: F): NonNullable<Passenger[F]> => {
      const value = passenger[field];
      if (value !== null) return value;
      throw new DataError(
        `titanic: expected the ${field} of passenger ${passenger.id} in ${path}, got nothing`,
      );
    };
    return [
      Number(known('class') === 1),
      Number(passenger.class === 2),
      Number(known('sex') === 'female'),
      passenger.age ?? median,
      Number(passenger.age === null),
      known('siblings'),
      known('parents'),
      Math.log1p(known('fare')),
      Number(passenger.embarked === 'C'),
      Number(passenger.embarked === 'Q'),
    ];
  };
  const width = TITANIC_FEATURES.length;
  const [train, validation, test] = parts.map((part) => ({
    x: Float32Array.from(part.flatMap((i) => features(passengers[i]))),
    y: Int32Array.from(part, (i) => labels[i]),
  }));
  return standardized({ name: 'titanic', width, classes: 2, train, validation, test });
}

/** Places in three parts of 60, 20 and 20 %, with the classes in the same proportions in each. */
export function split(labels: readonly number[], random: data.HostRandom): [number[], number[], number[]] {
  const parts: [number[], number[], number[]] = [[], [], []];
  for (const label of new Set(labels)) {
    const places = labels.flatMap((l, i) => (l === label ? [i] : []));
    data.permutation(places.length, random).forEach((k, i) => {
      parts[i < 0.6 * places.length ? 0 : i < 0.8 * places.length ? 1 : 2].push(places[k]);
    });
  }
  return parts;
}

const FASHION_FILES = [
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
];

/** 10,000 of the 60,000 training pictures, 2,000 more to validate on, all 10,000 test pictures. */
async function fashion(path: string | null, random: data.HostRandom): Promise<Dataset> {
  const folder = path ?? fashionFolder();
  if (folder === null) {
    throw new Missing(
      "Debian's package dataset-fashion-mnist is not installed; install it, or give a folder with the four files with --fashion",
    );
  }
  const [images, labels, testImages, testLabels] = await Promise.all(
    FASHION_FILES.map((name) => readIdx(folder, name)),
  );
  for (const [pictures, classes] of [
    [images, labels],
    [testImages, testLabels],
  ]) {
    const most = classes.data.reduce((a, b) => Math.max(a, b), 0);
    if (pictures.count === classes.count && pictures.count > 0 && most < 10) continue;
    throw new DataError(
      `fashion: expected pictures and as many labels from 0 to 9 in ${folder}, got ${pictures.count} and ${classes.count} up to ${most}`,
    );
  }
  const width = images.data.length / images.count;
  const take = (pictures: Idx, classes: Idx, places: ArrayLike<number>): Examples => ({
    x: Float32Array.from(
      Array.from(places).flatMap((i) => [...pictures.data.subarray(i * width, (i + 1) * width)]),
    ),
    y: Int32Array.from(places, (i) => classes.data[i]),
  });
  const order = data.permutation(images.count, random);
  const some = Math.min(10_000, Math.floor((5 * images.count) / 6));
  return standardized({
    name: 'fashion',
    width,
    classes: 10,
    train: take(images, labels, order.subarray(0, some)),
    validation: take(images, labels, order.subarray(some, some + Math.ceil(some / 5))),
    test: take(
      testImages,
      testLabels,
      Array.from({ length: testImages.count }, (_, i) => i),
    ),
  });
}

/** A folder below /usr/share whose name has fashion-mnist in it and that holds the files; null where there is none. */
function fashionFolder(root = '/usr/share'): string | null {
  const inside = (folder: string) =>
    existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  const places = [root, join(root, 'dataset'), join(root, 'datasets')].flatMap(inside);
  const found = places.filter((place) => place.includes('fashion-mnist'));
  const withFiles = (folder: string) => fileOf(folder, FASHION_FILES[0]) !== null;
  return found.flatMap((folder) => [folder, join(folder, 'data')]).find(withFiles) ?? null;
}

function fileOf(folder: string, name: string): string | null {
  return [name, `${name}.gz`].map((file) => join(folder, file)).find((file) => existsSync(file)) ?? null;
}

interface Idx {
  readonly count: number;
  readonly data: Uint8Array;
}

/** Bytes of an IDX file: two zeros, the type 8, the number of dims, their sizes, the values. @source http://yann.lecun.com/exdb/mnist/ */
async function readIdx(folder: string, name: string): Promise<Idx> {
  const file = fileOf(folder, name);
  if (file === null) throw new Missing(`no ${name} or ${name}.gz in ${folder}`);
  const bytes = await bytesOf(file);
  const dims = bytes.length >= 4 ? bytes[3] : 0;
  const head = 4 + 4 * dims;
  const isHead = bytes.length >= head && dims > 0 && bytes[0] === 0 && bytes[1] === 0 && bytes[2] === 8;
  const sizes = isHead ? Array.from({ length: dims }, (_, i) => bytes.readUInt32BE(4 + 4 * i)) : [];
  if (!isHead || bytes.length !== head + sizes.reduce((a, b) => a * b, 1)) {
    throw new DataError(`fashion: expected bytes in the IDX format, got another file ${file}`);
  }
  return { count: sizes[0], data: bytes.subarray(head) };
}

async function bytesOf(file: string): Promise<Buffer> {
  try {
    const raw = await readFile(file);
    return file.endsWith('.gz') ? gunzipSync(raw) : raw;
  } catch (cause) {
    throw new DataError(`fashion: cannot read ${file}: ${(cause as Error).message}`, { cause });
  }
}

/** Moves and scales features by what the training examples say; one that is always the same becomes 0. */
function standardized(raw: Dataset): Dataset {
  const { width, train } = raw;
  const count = train.y.length;
  const mean = new Float64Array(width);
  const square = new Float64Array(width);
  for (let i = 0; i < train.x.length; i++) mean[i % width] += train.x[i] / count;
  for (let i = 0; i < train.x.length; i++) square[i % width] += (train.x[i] - mean[i % width]) ** 2 / count;
  const scale = square.map((s) => (s > 1e-12 ? 1 / Math.sqrt(s) : 0));
  const apply = ({ x, y }: Examples): Examples => ({
    x: x.map((value, i) => (value - mean[i % width]) * scale[i % width]),
    y,
  });
  return { ...raw, train: apply(train), validation: apply(raw.validation), test: apply(raw.test) };
}
