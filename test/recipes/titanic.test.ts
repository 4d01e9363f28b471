/** The recipe `titanic`: reading passengers, features that know nothing of held-out rows, models, and the command as a user runs it. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { similarities } from '../../recipes/titanic/embeddings.js';
import { Features } from '../../recipes/titanic/features.js';
import { fitModel, foldsOf, KINDS, SETTINGS } from '../../recipes/titanic/fitting.js';
import { foldImportance } from '../../recipes/titanic/importance.js';
import { accuracy, logLoss } from '../../recipes/titanic/metrics.js';
import { Networks, toInputs } from '../../recipes/titanic/models.js';
import { type Passenger, readPassengers } from '../../recipes/titanic/passengers.js';
import { writeSubmission } from '../../recipes/titanic/submission.js';
import { deckOf, familyNameOf, familySizeOf, titleOf } from '../../recipes/titanic/traits.js';
import { runFold } from '../../recipes/titanic/validation.js';
import { cpuDevice, data, manualSeed, noGrad, setDefaultDevice } from '../../src/index.js';
import { runRecipe } from '../support/recipe.js';

const REAL = fileURLToPath(new URL('../../../shared/data/titanic.csv', import.meta.url));
const device = cpuDevice();
setDefaultDevice(device);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-titanic-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

const HEADER = 'PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked\n';
const BASE: Passenger = {
  id: 1,
  survived: 0,
  class: 3,
  name: 'Braund, Mr. Owen Harris',
  sex: 'male',
  age: 22,
  siblings: 1,
  parents: 0,
  ticket: 'A/5 21171',
  fare: 7.25,
  cabin: null,
  embarked: 'S',
};

/** Passengers of a ship on which women, and men in cabins, mostly live. */
function invented(count: number, seed = 1): Passenger[] {
  const random = new data.HostRandom(seed);
  return Array.from({ length: count }, (_, i) => {
    const sex = random.uniform() < 0.4 ? 'female' : 'male';
    const cabin = random.uniform() < 0.3 ? `${'ABC'[random.integer(3)]}${random.integer(90)}` : null;
    const wins = (sex === 'female' || cabin !== null) !== random.uniform() < 0.1;
    return {
      id: i + 1,
      survived: wins ? 1 : 0,
      class: (1 + random.integer(3)) as 1 | 2 | 3,
      name: `Family${random.integer(count)}, ${sex === 'female' ? 'Mrs' : 'Mr'}. N.`,
      sex,
      age: random.uniform() < 0.2 ? null : random.integer(70),
      siblings: random.integer(2),
      parents: random.integer(2),
      ticket: `T${random.integer(count)}`,
      fare: random.integer(100),
      cabin,
      embarked: 'CQS'[random.integer(3)],
    };
  });
}

function toCsv(passengers: readonly Passenger[]): string {
  const cell = (value: unknown) => (value === null ? '' : String(value).includes(',') ? `"${value}"` : value);
  return HEADER + passengers.map((p) => `${Object.values(p).map(cell).join(',')}\n`).join('');
}

describe('passengers', () => {
  it('are read by the names of their columns', async () => {
    const [first, ...others] = invented(3);
    expect(await readPassengers(await write('a.csv', toCsv([BASE, ...others])), { labelled: true })).toEqual([
      BASE,
      ...others,
    ]);
    // A well-known copy with other names, fewer columns, and no numbers.
    const other =
      'Survived,Pclass,Name,Sex,Age,Siblings/Spouses Aboard,Parents/Children Aboard,Fare\n0,3,Mr. Owen Harris Braund,male,22,1,0,7.25\n';
    expect(await readPassengers(await write('b.csv', other), { labelled: true })).toEqual([
      { ...BASE, name: 'Mr. Owen Harris Braund', ticket: null, embarked: null },
    ]);
    const lower = 'pclass,name,sex,age,ticket\n1,"A, Miss. B",female,NA,x\n';
    const [read] = await readPassengers(await write('c.csv', lower), { labelled: false });
    expect(read).toMatchObject({ id: 1, survived: null, age: null, fare: null, ticket: 'x' });
    expect(first.id).toBe(1);
  });

  it.each([
    [
      '1,0,3,A,male,old,,,,,,',
      'expected a number of years or nothing in column Age in line 2 of FILE, got "old"',
    ],
    ['1,0,4,A,male,,,,,,,', 'expected 1, 2 or 3 or nothing in column Pclass in line 2 of FILE, got "4"'],
    ['1,2,3,A,male,,,,,,,', 'expected 0 or 1 or nothing in column Survived in line 2 of FILE, got "2"'],
    ['1,,3,A,male,,,,,,,', 'expected 0 or 1 in column Survived in line 2 of FILE, got nothing'],
    ['1,0,3,A,man,,,,,,,', 'expected male or female or nothing in column Sex in line 2 of FILE, got "man"'],
    [
      '1,0,3,A,male,,-1,,,,,',
      'expected an integer of at least 0 or nothing in column SibSp in line 2 of FILE, got "-1"',
    ],
    ['x,0,3,A,male,,,,,,,', 'in column PassengerId in line 2 of FILE, got "x"'],
    [
      '7,0,3,A,male,,,,,,,\n7,1,3,B,male,,,,,,,',
      'expected a number of its own in column PassengerId in line 3 of FILE, got 7, which line 2 has',
    ],
    ['', 'expected passengers in FILE, got none'],
  ])('are refused where a value is wrong: %s', async (rows, message) => {
    const path = await write('wrong.csv', `${HEADER}${rows}\n`);
    await expect(readPassengers(path, { labelled: true })).rejects.toThrow(message.replaceAll('FILE', path));
  });

  it('are refused without the columns that matter', async () => {
    const path = await write('wrong.csv', 'PassengerId,Name,Age\n1,A,2\n');
    await expect(readPassengers(path, { labelled: true })).rejects.toThrow(
      `titanic: expected the columns Pclass, Sex, Survived in ${path}, got PassengerId, Name, Age`,
    );
  });

  it('have a title, a deck and a family', () => {
    const title = (name: string | null) => titleOf({ ...BASE, name });
    expect(title('Braund, Mr. Owen Harris')).toBe('Mr');
    expect(title('Rothes, the Countess. of (Lucy Noel)')).toBe('Mrs');
    expect(title('Sagesser, Mlle. Emma')).toBe('Miss');
    expect(title('Peuchen, Major. Arthur Godfrey')).toBe('Officer');
    expect(title('Mr. Owen Harris Braund')).toBe('Mr');
    expect([title('Nobody'), title(null)]).toEqual([null, null]);
    expect(familyNameOf(BASE)).toBe('Braund');
    expect(familySizeOf({ ...BASE, parents: null })).toBe(2);
    expect(['C23 C25', 'F G73', 'D', null].map((cabin) => deckOf({ ...BASE, cabin }))).toEqual([
      'C',
      'G',
      'D',
      null,
    ]);
  });
});

describe('features', () => {
  const crowd = invented(120);

  it('are scaled numbers and numbers of categories', () => {
    const features = Features.fit(crowd, 'engineered');
    const table = features.transform(crowd);
    const F = features.numberNames.length;
    expect(table.numbers).toHaveLength(120 * F);
    expect(table.numbers.every(Number.isFinite)).toBe(true);
    const ages = Array.from(crowd, (_, i) => table.numbers[i * F]);
    expect(ages.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 3);
    const flag = features.numberNames.indexOf('age missing');
    expect(crowd.map((_, i) => table.numbers[i * F + flag])).toEqual(
      crowd.map(({ age }) => (age === null ? 1 : 0)),
    );
    // Nothing is known of a stranger.
    const stranger: Passenger = {
      ...BASE,
      id: 999,
      class: null,
      name: null,
      sex: null,
      age: null,
      siblings: null,
      parents: null,
      ticket: null,
      fare: null,
      embarked: 'X',
    };
    const alone = features.transform([stranger]);
    expect([...alone.categories]).toEqual([0, 0, 0, 0, 0]);
    expect(alone.numbers.every(Number.isFinite)).toBe(true);
  });

  it("know what became of companions, and nothing of a passenger's own fate", () => {
    const family = [1, 2, 3].map(
      (id): Passenger => ({
        ...BASE,
        id,
        survived: 1,
        name: `Sage, Miss. ${id}`,
        sex: 'female',
        siblings: 2,
      }),
    );
    const training = [...family, ...crowd.map((p) => ({ ...p, id: p.id + 10 }))];
    const column = (passengers: readonly Passenger[], name: string, of = training) => {
      const features = Features.fit(of, 'engineered');
      const { numbers } = features.transform(passengers);
      return passengers.map(
        (_, i) => numbers[i * features.numberNames.length + features.numberNames.indexOf(name)],
      );
    };
    const fate = 'fate of women and children';
    const [newcomer, stranger] = column(
      [
        { ...family[0], id: 99 },
        { ...BASE, id: 98, ticket: 'Z', siblings: 0 },
      ],
      fate,
    );
    expect(newcomer).toBeGreaterThan(stranger);
    // Her own fate turned: hers stays as it was, up to the scale of the column; her sisters' falls.
    const turned = training.map((p) => (p.id === 1 ? { ...p, survived: 0 as const } : p));
    const before = column(family, fate);
    const after = column(family, fate, turned);
    expect(before[0]).toBe(before[1]);
    expect(after[0]).toBeGreaterThan(after[1]);
    const raw = (of: Passenger[]) => JSON.parse(JSON.stringify(Features.fit(of, 'engineered'))).companions;
    expect(raw(training)).not.toEqual(raw(turned));
  });

  it.each(['plain', 'logistic', 'network'] as const)(
    'nothing of the held-out fold reaches the model: %s',
    async (kind) => {
      const fold = foldsOf(crowd, 4, 1)[0];
      const held = new Set(fold.test);
      // Everything about those who are held out is another, their fate too.
      const changed = invented(120, 2).map((p, i) =>
        held.has(i) ? { ...p, age: 1000 + i, ticket: 'T1', survived: 1 as const } : crowd[i],
      );
      const options = { trials: 1, device, changes: { steps: 5, members: 1 } };
      const [one, other] = [
        await runFold(kind, crowd, fold, 1, options),
        await runFold(kind, changed, fold, 1, options),
      ];
      expect(one.settings).toEqual(other.settings);
      expect(JSON.stringify(one.fitted.features)).toBe(JSON.stringify(other.fitted.features));
      const weights = ({ fitted }: typeof one) => Promise.all(fitted.model.parameters().map((p) => p.data()));
      expect(await weights(one)).toEqual(await weights(other));
      expect(one.probabilities).not.toEqual(other.probabilities);
    },
  );
});

describe('models', () => {
  const crowd = invented(200);
  const [training, held] = [crowd.slice(0, 150), crowd.slice(150)];
  const labels = held.map(({ survived }) => survived!);
  const quick = { ...SETTINGS.network, steps: 40, members: 2, lr: 0.03 };

  it('a member among others computes what it computes alone', async () => {
    const table = Features.fit(training, 'engineered').transform(held);
    const sizes = { numbers: table.numbers.length / 50, categories: [3, 4, 4, 4, 5] };
    manualSeed(1);
    const both = new Networks(sizes, quick).eval();
    const logits = noGrad(() => both.forward(toInputs(table, device)));
    expect(logits.shape).toEqual([2, 50]);
    for (const member of [0, 1]) {
      const alone = new Networks(sizes, { ...quick, members: 1 }).eval();
      await alone.loadStateDict(
        new Map(
          [...both.stateDict()].map(([name, t]) => {
            const size = t.shape[0] / 2;
            return [name, t.narrow(0, member * size, size).contiguous()];
          }),
        ),
      );
      const own = noGrad(() => alone.forward(toInputs(table, device)));
      const [a, b] = [await own.data(), await logits.select(0, member).contiguous().data()];
      a.forEach((x, i) => expect(x).toBeCloseTo(Number(b[i]), 5));
    }
  });

  it('logistic regression reaches its optimum', async () => {
    const settings = { ...SETTINGS.logistic, steps: 600 };
    const { model, features, release } = await fitModel('plain', settings, training, 1, device);
    const weight = await model.decayed[0].data();
    const table = features.transform(training);
    const F = weight.length;
    const p = await (await fitModel('plain', settings, training, 1, device)).predict(training);
    // Σ (pᵢ − yᵢ) xᵢ + λ w = 0
    for (let f = 0; f < F; f++) {
      let gradient = settings.l2 * Number(weight[f]);
      training.forEach(({ survived }, i) => {
        gradient += (p[i] - survived!) * table.numbers[i * F + f];
      });
      expect(Math.abs(gradient)).toBeLessThan(0.05);
    }
    release();
  });

  it('learn what decides, say so by importance, and repeat themselves by seed', async () => {
    const make = (seed: number) => fitModel('network', quick, training, seed, device);
    const [one, same, other] = [await make(1), await make(1), await make(2)];
    const p = await one.predict(held);
    expect(accuracy(p, labels)).toBeGreaterThan(0.75);
    expect(logLoss(p, labels)).toBeLessThan(0.6);
    expect(await same.predict(held)).toEqual(p);
    expect(await other.predict(held)).not.toEqual(p);
    const lost = await foldImportance(one, held, { shuffles: 4 });
    expect(lost['sex and title'].rocAuc).toBeGreaterThan(0.1);
    expect(Math.abs(lost.embarked.rocAuc)).toBeLessThan(0.05);
    const titles = (await similarities(one, 'title'))!;
    expect(titles.names).toEqual(['Mr', 'Mrs']);
    expect(titles.cosines[0][0]).toBeCloseTo(1, 6);
    expect(titles.cosines[0][1]).toBeCloseTo(titles.cosines[1][0], 6);
    expect(await similarities(one, 'age')).toBeNull();
  });

  it('a submission is written whole or not at all', async () => {
    const path = join(folder, 'submission.csv');
    await writeSubmission(path, held.slice(0, 3), [0.2, 0.5, 0.9]);
    expect(await readFile(path, 'utf8')).toBe('PassengerId,Survived\n151,0\n152,1\n153,1\n');
    await expect(writeSubmission(path, held.slice(0, 1), [Number.NaN])).rejects.toThrow(
      'titanic: expected a probability for passenger 151, got NaN',
    );
    expect(await readFile(path, 'utf8')).toContain('153,1');
  });
});

const recipe = (...args: string[]) => runRecipe('titanic/main.ts', folder, args);

// Three processes that load the engine anew take their time on busy cores.
describe('the command', { timeout: 180_000 }, () => {
  const tiny = [
    '--repeats',
    '1',
    '--folds',
    '3',
    '--search',
    '1',
    '--members',
    '2',
    '--steps',
    '40',
    '--shuffles',
    '2',
  ];
  // Other titles, decks and ports than any that were trained on, and nothing at all.
  const tests =
    'PassengerId,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked\n' +
    '892,3,"Kelly, Mr. James",male,34.5,0,0,330911,7.8292,,Q\n' +
    '893,3,"Wilkes, Khaleesi. Ellen",female,47,1,0,363272,,Z9,Atlantis\n' +
    '894,,,,,,,,,,\n';

  it('compares the models on held-out folds, and predicts', async () => {
    const crowd = await write('crowd.csv', toCsv(invented(240)));
    const test = await write('test.csv', tests);
    const { code, out, err } = await recipe('--csv', crowd, '--test', test, ...tiny);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(out).toContain('Passengers 240');
    expect(out).toMatch(/network − logistic +ROC-AUC/);
    const run = join(folder, 'runs/titanic');
    expect((await readdir(run)).sort()).toEqual([
      'config.json',
      'features.json',
      'importance.svg',
      'metrics.jsonl',
      'model.safetensors',
      'result.json',
      'roc.svg',
      'settings.json',
      'submission.csv',
    ]);
    const result = JSON.parse(await readFile(join(run, 'result.json'), 'utf8'));
    for (const { metrics } of result.models)
      expect(metrics.accuracy.mean).toBeGreaterThan(result.majority + 0.05);
    expect(result.models.map(({ kind }: { kind: string }) => kind)).toEqual(KINDS);
    expect(result.folds.network).toHaveLength(3);
    expect(await readFile(join(run, 'submission.csv'), 'utf8')).toMatch(
      /^PassengerId,Survived\n892,0\n893,1\n894,[01]\n$/,
    );
    const svg = await readFile(join(run, 'importance.svg'), 'utf8');
    expect(svg).toMatch(/^<svg .*<style>.*sex and title.*<\/svg>\n$/s);
  });

  const skip = existsSync(REAL) ? '' : ' (skipped: ../shared/data/titanic.csv is not there)';
  it.skipIf(skip !== '')(`finds survivors among the real passengers${skip}`, async () => {
    const passengers = await readPassengers(REAL, { labelled: true });
    expect(passengers).toHaveLength(891);
    expect(new Set(passengers.map(titleOf)).size).toBeLessThan(10);
    const [fold] = foldsOf(passengers, 5, 1);
    const options = { trials: 0, device, changes: { steps: 80, members: 2 } };
    const [plain, network] = [
      await runFold('plain', passengers, fold, 1, options),
      await runFold('network', passengers, fold, 1, options),
    ];
    for (const { metrics } of [plain, network]) {
      expect(metrics.accuracy).toBeGreaterThan(0.72);
      expect(metrics.rocAuc).toBeGreaterThan(0.8);
    }
    expect(network.metrics.rocAuc).toBeGreaterThan(plain.metrics.rocAuc);
  });

  it('explains itself, and says what is wrong', async () => {
    const help = await recipe('--help');
    expect(help.code).toBe(0);
    for (const flag of ['--quick', '--csv', '--test', '--folds', '--search', '--seed'])
      expect(help.out).toContain(flag);
    const [none, wrong] = await Promise.all([recipe('--quick'), recipe('--folds', '1')]);
    expect(none.code).toBe(1);
    expect(none.err).toContain(
      'recipe:titanic: titanic: expected passengers in data/titanic.csv, got no such file',
    );
    expect(wrong.err).toContain('titanic: expected folds to be at least 2, got 1 by --folds');
    const few = await write(
      'few.csv',
      toCsv(invented(30).map((p, i) => ({ ...p, survived: i < 2 ? 1 : 0 }))),
    );
    const poor = await recipe('--csv', few, '--folds', '3', '--out', 'poor');
    expect(poor.code).toBe(1);
    expect(poor.err).toContain(
      'titanic: expected at least 3 who survived and 3 who drowned, one of each in every fold, got 2 and 28',
    );
    expect(existsSync(join(folder, 'poor'))).toBe(false);
  });
});
