import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { formatQA } from '../data/qa.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { generateText } from '../models/generate.js';
import { addGenerationFlags, type GenerationFlags, generationOptions, seedOf } from './generation-flags.js';
import { describeModel, findModel, type OpenedModel, openModel, openQuietly } from './model.js';
import { integer } from './options.js';

type Format = 'qa' | 'plain';

interface Flags extends GenerationFlags {
  format: Format;
  history: number;
}

/** `dawngrad chat`: questions and answers. */
export function addChatCommand(program: Command): void {
  const command = program
    .command('chat')
    .description('talk with a language model')
    .addOption(
      new Option(
        '--format <format>',
        "'qa' asks as QUESTION and ANSWER; 'plain' continues what you type, up to the end of its line",
      )
        .choices(['qa', 'plain'])
        .default('qa'),
    )
    .option(
      '--history <n>',
      'earlier turns that the model sees, as many as its context holds',
      integer(0),
      100,
    );
  addGenerationFlags(command, { maxNewTokens: 200 })
    .addHelpText(
      'after',
      `
/reset forgets what was said, /help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves. Lines may also be piped in.

Examples:
  $ dawngrad chat --model runs/scratch-full --temperature 0.7 --top-k 40
  $ printf 'How do I sleep better?\\n' | dawngrad chat --model runs/scratch-full --seed 1`,
    )
    .action((flags: Flags) => chat(flags));
}

/** What a turn looks like to the model. */
interface Turn {
  readonly prompt: string;
  answer: string;
}

const MARK = 'ANSWER:';
const FORMATS: Record<Format, { readonly stop: readonly string[]; prompt(line: string): string }> = {
  qa: {
    stop: ['\nQUESTION:', '\nANSWER:'],
    prompt(question) {
      // Up to where the answer begins; the space in front of it belongs to its first token.
      const pair = formatQA({ question, answer: '…' });
      return pair.slice(0, pair.lastIndexOf(MARK) + MARK.length);
    },
  },
  plain: { stop: ['\n'], prompt: (line) => line },
};

/** The ids of a conversation, an end of text behind every answer; as many of the last turns as there is room for. */
export function conversation(
  turns: readonly { prompt: string; answer: string }[],
  tokenizer: Tokenizer,
  room: number,
): { ids: Int32Array; left: number } {
  const end = tokenizer.endOfText === null ? [] : [tokenizer.endOfText];
  let ids: number[] = [];
  let left = turns.length;
  for (let i = turns.length - 1; i >= 0; i--) {
    const { prompt, answer } = turns[i];
    const last = i === turns.length - 1;
    const own = [...tokenizer.encode(last ? prompt : prompt + answer), ...(last ? [] : end)];
    if (!last && own.length + ids.length > room) break;
    ids = [...own, ...ids];
    left = i;
  }
  return { ids: Int32Array.from(ids.slice(-room)), left };
}

const HELP = `/reset   forget what was said
/help    this
Ctrl-C   stop an answer
Ctrl-D   leave`;

async function chat(flags: Flags): Promise<void> {
  const place = await findModel(flags.model);
  const device = await openQuietly(flags.device, flags.adapter);
  try {
    const opened = await openModel(place, device, flags.quantize);
    describeModel(flags.model, opened);
    await talk(opened, flags);
  } finally {
    await device.close();
  }
}

/** Reads lines and answers them. Nothing is awaited before the first: lines that come before anybody listens are lost. */
async function talk({ model, tokenizer }: OpenedModel, flags: Flags): Promise<void> {
  const talks = Boolean(process.stdin.isTTY);
  const lines = createInterface({
    input: process.stdin,
    output: talks ? process.stdout : undefined,
    prompt: '> ',
  });
  let answering = false;
  let stopped = false;
  const onInterrupt = (): void => {
    if (answering) stopped = true;
    else if (talks) {
      process.stdout.write('\n(Ctrl-D leaves)\n');
      lines.prompt();
    } else lines.close();
  };
  lines.on('SIGINT', onInterrupt);
  process.on('SIGINT', onInterrupt);
  try {
    const format = FORMATS[flags.format];
    const seed = seedOf(flags);
    const options = generationOptions(flags, tokenizer, seed);
    const { contextLength } = model.shape;
    const maxNewTokens = Math.min(flags.maxNewTokens, Math.max(Math.floor(contextLength / 2), 1));
    console.error(`Seed       ${seed}; /help lists the commands`);
    let turns: Turn[] = [];
    let count = 0;
    if (talks) lines.prompt();
    for await (const line of lines) {
      const text = line.trim();
      if (text === '/help') console.log(HELP);
      else if (text === '/reset') {
        turns = [];
        console.log('(forgotten)');
      } else if (text.startsWith('/')) console.log(`(no command ${text.split(' ')[0]}; /help lists them)`);
      else if (text !== '') {
        turns.push({ prompt: format.prompt(text), answer: '' });
        turns = turns.slice(-1 - flags.history);
        const { ids, left } = conversation(turns, tokenizer, contextLength - maxNewTokens);
        turns = turns.slice(left);
        answering = true;
        stopped = false;
        const turn = turns[turns.length - 1];
        const pieces = generateText(model, tokenizer, ids, {
          ...options,
          maxNewTokens,
          // Asked twice, it need not answer the same; the conversation as a whole repeats.
          seed: seed + count++,
          stop: [...flags.stop, ...format.stop],
        });
        for await (const piece of pieces) {
          // The space behind the mark is the model's, and nobody's on the screen.
          const shown = turn.answer === '' ? piece.trimStart() : piece;
          turn.answer += piece;
          process.stdout.write(shown);
          await setImmediate();
          if (stopped) break;
        }
        answering = false;
        process.stdout.write(stopped ? ' …\n' : '\n');
      }
      if (talks) lines.prompt();
    }
    if (talks) process.stdout.write('\n');
  } finally {
    lines.close();
    process.off('SIGINT', onInterrupt);
  }
}
