import { readFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { Command } from 'commander';
import { decodeText } from '../data/qa-file.js';
import { DataError } from '../device/errors.js';
import { generateText, promptIds } from '../models/generate.js';
import { addGenerationFlags, type GenerationFlags, generationOptions, seedOf } from './generation-flags.js';
import { describeModel, findModel, openModel, openQuietly } from './model.js';

interface Flags extends GenerationFlags {
  prompt?: string;
  promptFile?: string;
  echo: boolean;
}

/** `dawngrad generate`: continues a text. */
export function addGenerateCommand(program: Command): void {
  const command = program
    .command('generate')
    .description('continue a text with a language model, token by token')
    .option('--prompt <text>', 'what to continue; nothing: begin a text')
    .option('--prompt-file <file>', 'what to continue, from a file (UTF-8)')
    .option('--no-echo', 'print the continuation without the prompt');
  addGenerationFlags(command, { maxNewTokens: 100 })
    .addHelpText(
      'after',
      `
The text goes to standard output as it comes, all else to standard error. Ctrl-C ends it.

Examples:
  $ dawngrad generate --model runs/scratch-full --prompt 'Once' --temperature 0.8 --top-k 40
  $ dawngrad generate --model openai-community/gpt2 --prompt 'The whale' --max-new-tokens 50 --seed 1
  $ dawngrad generate --model runs/gpt2-lora --prompt-file questions.txt --num-beams 4 --stop '\\n\\n'`,
    )
    .action((flags: Flags) => generateCommand(flags));
}

async function generateCommand(flags: Flags): Promise<void> {
  const { promptFile, echo } = flags;
  if (promptFile !== undefined && flags.prompt !== undefined) {
    throw new DataError('generate: expected --prompt or --prompt-file, got both');
  }
  const prompt = promptFile === undefined ? (flags.prompt ?? '') : await readPrompt(promptFile);
  // What is wrong with the model's name is found before a device is opened.
  const place = await findModel(flags.model);
  const device = await openQuietly(flags.device, flags.adapter);
  let interrupted = false;
  const onInterrupt = (): void => {
    interrupted = true;
  };
  process.on('SIGINT', onInterrupt);
  try {
    const opened = await openModel(place, device, flags.quantize);
    const { model, tokenizer } = opened;
    describeModel(flags.model, opened);
    const seed = seedOf(flags);
    const options = generationOptions(flags, tokenizer, seed);
    const prompted = promptIds(tokenizer, prompt).length;
    let count = 0;
    let first = 0;
    let last = 0;
    const start = performance.now();
    const pieces = generateText(model, tokenizer, prompt, {
      ...options,
      onToken: () => {
        last = performance.now();
        if (count++ === 0) first = last;
      },
    });
    // The prompt is written when the first piece is there: what is wrong with the options leaves no output.
    let before = echo ? prompt : '';
    for await (const piece of pieces) {
      process.stdout.write(before);
      before = '';
      process.stdout.write(piece);
      // Ctrl-C is heard between turns of the event loop, and a device on this thread leaves none.
      await setImmediate();
      if (interrupted) break;
    }
    process.stdout.write(`${before}\n`);
    const seconds = (from: number, to: number): string => ((to - from) / 1000).toFixed(2);
    // Beam search gives all its tokens at the end.
    const searched = (flags.numBeams ?? 1) > 1;
    const facts = [
      searched
        ? `${speed(count, last - start)} tokens/s, beams of ${flags.numBeams}`
        : count > 1
          ? `${speed(count - 1, last - first)} tokens/s, the first after ${seconds(start, first)} s`
          : '',
      `${prompted} tokens of prompt`,
      searched ? '' : `seed ${seed}`,
      interrupted ? 'stopped' : '',
    ];
    console.error(`${count} tokens: ${facts.filter((fact) => fact !== '').join('; ')}`);
  } finally {
    process.off('SIGINT', onInterrupt);
    await device.close();
  }
}

function speed(tokens: number, ms: number): string {
  const rate = (tokens * 1000) / Math.max(ms, 1e-3);
  return rate >= 100 ? rate.toFixed(0) : rate.toPrecision(3);
}

async function readPrompt(file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw new DataError(
      `generate: expected --prompt-file to be a file, got ${file} (${(error as Error).message})`,
    );
  }
  return decodeText(bytes, file);
}
