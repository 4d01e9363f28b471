/** Screenplays that nobody would film: random scenes with headings, action and dialogue, the same for the same seed. */
import { data } from '../../src/index.js';

export interface ScreenplayOptions {
  readonly seed: number;
  readonly scenes: number;
  /** What it is full of: 1 for letters and grief, 0 for engines and chases. Default both. */
  readonly kind?: 0 | 1;
}

const PLACES = [
  'KITCHEN',
  'CAR',
  'HOSPITAL WARD',
  'POLICE STATION',
  'BEACH',
  'STAIRCASE',
  'CHURCH',
  'BAR',
  'ROOFTOP',
];
const TIMES = ['DAY', 'NIGHT', 'DAWN', 'CONTINUOUS', 'LATER'];
const NAMES = [
  'ANNA',
  'MARTIN',
  'DR. OKOYE',
  'THE BOY',
  'LIEUTENANT RUIZ',
  'JOÃO',
  'MRS. LINDQVIST',
  'VOICE (O.S.)',
];
const WORDS = [
  ['engine', 'bridge', 'explosion', 'helicopter', 'bullet', 'chase', 'wire', 'signal', 'wreck', 'gate'],
  ['letter', 'mother', 'grief', 'piano', 'garden', 'silence', 'photograph', 'window', 'funeral', 'kitchen'],
];
const ACTIONS = [
  (a: string, b: string) => `The camera finds a ${a} beside the ${b}.`,
  (a: string, b: string) => `Nobody moves. Only the ${a}, and then the ${b}.`,
  (a: string, b: string) => `A ${a}. Behind it — a ${b}, as we have seen it before.`,
];
const LINES = [
  (a: string) => `You never told me about the ${a}.`,
  (a: string) => `What would you do with a ${a}?`,
  (a: string, b: string) => `It was the ${a}, not the ${b}. It always was…`,
  () => 'No.',
];

/** A screenplay as plain text; its names and places are the same whatever its kind. */
export function randomScreenplay({ seed, scenes, kind }: ScreenplayOptions): string {
  const random = new data.HostRandom(seed);
  const one = <T>(list: readonly T[]): T => list[random.integer(list.length)];
  const word = (): string => one(WORDS[kind ?? random.integer(2)]);
  const lines = [`UNTITLED NO. ${seed}`, '', 'FADE IN:', ''];
  for (let scene = 0; scene < scenes; scene++) {
    lines.push(`${one(['INT.', 'EXT.'])} ${one(PLACES)} - ${one(TIMES)}`, '');
    for (let beat = 1 + random.integer(4); beat > 0; beat--) {
      lines.push(one(ACTIONS)(word(), word()), '');
      if (random.integer(4) === 0) continue;
      lines.push(`                    ${one(NAMES)}`);
      if (random.integer(3) === 0)
        lines.push(`               (${one(['beat', 'quietly', 'into the phone'])})`);
      lines.push(`          ${one(LINES)(word(), word())}`, '');
    }
  }
  lines.push('FADE OUT.', '');
  return lines.join('\n');
}
