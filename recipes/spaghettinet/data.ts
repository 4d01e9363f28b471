/** Points in the plane made here, passengers, and pictures of clothes: examples with classes, split in three. */
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { DataError, data } from '../../src/index.js';

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
  const { openCsv } = await import('../../src/data/csv-file.js');
  const rows: Record<string, unknown>[] = [];
  for await (const row of (await openCsv(path)).rows()) rows.push(row);
  const number = (value: unknown): number => {
    if (value === null || Number.isNaN(Number(value)))
      throw new DataError(`titanic: expected a number, got ${value}`);
    return Number(value);
  };
  const labels = rows.map((row) => number(row.Survived));
  const parts = split(labels, random);
  // Filled from training passengers alone: the others must stay unknown.
  const ages = parts[0]
    .flatMap((i) => (rows[i].Age === null ? [] : [number(rows[i].Age)]))
    .sort((a, b) => a - b);
  const median = ages[Math.floor(ages.length / 2)];
  const features = ({
    Pclass,
    Sex,
    Age,
    SibSp,
    Parch,
    Fare,
    Embarked,
  }: Record<string, unknown>): number[] => [
    Number(Pclass === '1'),
    Number(Pclass === '2'),
    Number(Sex === 'female'),
    Age === null ? median : number(Age),
    Number(Age === null),
    number(SibSp),
    number(Parch),
    Math.log1p(number(Fare)),
    Number(Embarked === 'C'),
    Number(Embarked === 'Q'),
  ];
  const width = TITANIC_FEATURES.length;
  const [train, validation, test] = parts.map((part) => ({
    x: Float32Array.from(part.flatMap((i) => features(rows[i]))),
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
  const raw = await readFile(file);
  const bytes = file.endsWith('.gz') ? gunzipSync(raw) : raw;
  const head = 4 + 4 * bytes[3];
  const sizes = Array.from({ length: bytes[3] }, (_, i) => bytes.readUInt32BE(4 + 4 * i));
  const length = sizes.reduce((a, b) => a * b, 1);
  if (bytes.readUInt16BE(0) !== 0 || bytes[2] !== 8 || bytes.length !== head + length) {
    throw new DataError(`fashion: expected bytes in the IDX format, got another file ${file}`);
  }
  return { count: sizes[0], data: bytes.subarray(head) };
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
