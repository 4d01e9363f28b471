/** `dawngrad generate` and `dawngrad chat`, as a user runs them. */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { conversation } from '../../src/cli/chat.js';
import { describeModel, findModel, openModel } from '../../src/cli/model.js';
import { GPT2Tokenizer } from '../../src/data/tokenizer.js';
import { saveGPT2 } from '../../src/models/gpt2-weights.js';
import { applyLora } from '../../src/nn/lora.js';
import { cpuDevice } from '../../src/tensor/default-device.js';
import { saveAdapter } from '../../src/train/adapter.js';
import { tinyGPT2 } from '../models/generating.js';
import { startHub } from '../support/hub-server.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dawngrad-generate-'));
  const model = tinyGPT2(cpuDevice(), { vocabSize: 300, contextLength: 96 });
  const tokenizer = new GPT2Tokenizer({ size: 300 });
  await saveGPT2(join(folder, 'plain'), model, tokenizer);
  // A finished run, an unfinished one, and an adapter on the first.
  await mkdir(join(folder, 'run', 'model'), { recursive: true });
  await saveGPT2(join(folder, 'run', 'model'), model, tokenizer);
  for (const run of ['run', 'unfinished']) {
    await mkdir(join(folder, run), { recursive: true });
    await writeFile(join(folder, run, 'config.json'), '{}');
    await writeFile(join(folder, run, 'metrics.jsonl'), '');
  }
  await mkdir(join(folder, 'lora'));
  applyLora(model, { rank: 2, alpha: 4, targets: ['c_attn'] });
  await saveAdapter(join(folder, 'lora', 'adapter'), model, { rank: 2, base: join(folder, 'run') });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  code: number | null;
  out: string;
  err: string;
}

function dawngrad(
  args: string[],
  input = '',
  onOutput?: (soFar: string, kill: () => void) => void,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', TSX, MAIN, ...args], {
      cwd: folder,
      env: { ...process.env, DAWNGRAD_DEVICE: 'cpu', DAWNGRAD_ADAPTER: '', DAWNGRAD_THREADS: '1' },
    });
    const outcome: Outcome = { code: null, out: '', err: '' };
    let killed = false;
    // Once: who presses Ctrl-C again, when it is about to end, ends it there.
    const kill = (): void => {
      if (!killed) child.kill('SIGINT');
      killed = true;
    };
    child.stdout.setEncoding('utf8').on('data', (s: string) => {
      outcome.out += s;
      onOutput?.(outcome.out, kill);
    });
    child.stderr.setEncoding('utf8').on('data', (s: string) => (outcome.err += s));
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

describe('generate', () => {
  it('streams a continuation, and repeats it from its seed', async () => {
    const args = [
      'generate',
      '--model',
      'plain',
      '--prompt',
      'Once',
      '--max-new-tokens',
      '20',
      '--seed',
      '4',
      '--top-p',
      '0.95',
    ];
    const first = await dawngrad(args);
    expect(first.code).toBe(0);
    expect(first.out).toMatch(/^Once[\s\S]+\n$/);
    expect(first.err).toMatch(/Model {6}plain: [\d,]+ parameters, 2 layers/);
    expect(first.err).toMatch(
      /20 tokens: [\d.]+ tokens\/s, the first after [\d.]+ s; \d+ tokens of prompt; seed 4/,
    );
    expect((await dawngrad(args)).out).toBe(first.out);
    // The run has the same weights, the adapter is new and changes nothing; greedy takes no seed.
    const greedy = ['--prompt', 'Once', '--max-new-tokens', '12', '--temperature', '0', '--no-echo'];
    const outs = await Promise.all(
      ['plain', 'run', 'lora'].map((model) => dawngrad(['generate', '--model', model, ...greedy])),
    );
    expect(outs.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(outs[1].out).toBe(outs[0].out);
    expect(outs[2].out).toBe(outs[0].out);
    expect(outs[0].out).not.toMatch(/^Once/);
  });

  it('takes files, bans, biases, stops and beams', async () => {
    await writeFile(join(folder, 'prompt.txt'), 'Twice');
    const run = (...more: string[]) =>
      dawngrad([
        'generate',
        '--model',
        'plain',
        '--prompt-file',
        'prompt.txt',
        '--max-new-tokens',
        '8',
        '--no-echo',
        ...more,
      ]);
    const [biased, banned, stopped, beams] = await Promise.all([
      run('--logit-bias', 'x=1000', '--logit-bias', ' t=-1000'),
      run('--logit-bias', 'x=1000', '--ban', 'x', '--ban', '0', '--temperature', '0'),
      run('--logit-bias', 'x=1000', '--stop', 'xxx', '--logit-bias', '299=-1000'),
      run('--num-beams', '3', '--length-penalty', '-1'),
    ]);
    expect(biased.out).toBe('xxxxxxxx\n');
    expect(banned.code).toBe(0);
    expect(banned.out).not.toContain('x');
    expect(stopped.out).toBe('\n');
    expect(beams.err).toMatch(/tokens\/s, beams of 3; \d+ tokens of prompt/);
  });

  it('says what is wrong', async () => {
    const wrong = async (...args: string[]) => {
      const { code, err } = await dawngrad(['generate', ...args]);
      expect(code).toBe(1);
      return err;
    };
    const texts = await Promise.all([
      wrong('--prompt', 'x'),
      wrong('--model', 'plain', '--top-p', '2'),
      wrong('--model', './nowhere', '--prompt', 'x'),
      wrong('--model', 'unfinished', '--prompt', 'x'),
      wrong('--model', 'plain', '--ban', 'nothing at all'),
      wrong('--model', 'plain', '--prompt', 'a', '--prompt-file', 'prompt.txt'),
    ]);
    expect(texts[0]).toContain("required option '--model <name>' not specified");
    expect(texts[1]).toContain('expected a number from 0 to 1');
    expect(texts[2]).toContain('expected a folder or a name on the Hub, got ./nowhere, which is neither');
    expect(texts[3]).toContain('unfinished is a run of another kind, or one that is not finished');
    expect(texts[4]).toContain(
      '--ban: expected text that is a single token, got "nothing at all", which is "',
    );
    expect(texts[5]).toContain('expected --prompt or --prompt-file, got both');
  });

  it('says what is wrong before it writes the prompt', async () => {
    await writeFile(join(folder, 'latin1.txt'), Buffer.from('caf\xe9', 'latin1'));
    const [options, bytes] = await Promise.all([
      dawngrad(['generate', '--model', 'plain', '--prompt', 'Once', '--min-new-tokens', '101']),
      dawngrad(['generate', '--model', 'plain', '--prompt-file', 'latin1.txt']),
    ]);
    expect(options).toMatchObject({ code: 1, out: '' });
    expect(options.err).toContain('expected minNewTokens of at most maxNewTokens 100, got 101');
    expect(bytes).toMatchObject({ code: 1, out: '' });
    expect(bytes.err).toContain('expected UTF-8 text, got other bytes in line 1 of latin1.txt');
  });

  it('stops at Ctrl-C, and says how far it came', async () => {
    const { code, out, err } = await dawngrad(
      ['generate', '--model', 'plain', '--prompt', 'a', '--max-new-tokens', '90', '--min-new-tokens', '90'],
      '',
      (soFar, kill) => soFar.length > 5 && kill(),
    );
    expect(code).toBe(0);
    expect(out.endsWith('\n')).toBe(true);
    expect(err).toMatch(/\d+ tokens: /);
  });
});

describe('chat', () => {
  it('answers piped lines in order, and knows its commands', async () => {
    const args = [
      'chat',
      '--model',
      'run',
      '--seed',
      '1',
      '--max-new-tokens',
      '10',
      '--logit-bias',
      'y=1000',
      '--ban',
      '299',
    ];
    const { code, out, err } = await dawngrad(args, 'Hello\n\n/help\n/what\nAgain\n/reset\nOnce more');
    expect(err).toContain('Seed       1; /help lists the commands');
    expect(out.split('\n')).toEqual([
      'yyyyyyyyyy',
      '/reset   forget what was said',
      '/help    this',
      'Ctrl-C   stop an answer',
      'Ctrl-D   leave',
      '(no command /what; /help lists them)',
      'yyyyyyyyyy',
      '(forgotten)',
      'yyyyyyyyyy',
      '',
    ]);
    expect(code).toBe(0);
  });

  it('keeps as many turns as there is room for, and an end of text behind each', () => {
    const tokenizer = new GPT2Tokenizer({ size: 257 });
    const turns = ['one', 'two', 'six'].map((prompt, i) => ({ prompt, answer: i < 2 ? `=${i}` : '' }));
    const all = conversation(turns, tokenizer, 100);
    expect(tokenizer.decode(all.ids)).toBe('one=0<|endoftext|>two=1<|endoftext|>six');
    expect(all.left).toBe(0);
    const some = conversation(turns, tokenizer, 12);
    expect(tokenizer.decode(some.ids)).toBe('two=1<|endoftext|>six');
    expect(some.left).toBe(1);
    expect(tokenizer.decode(conversation(turns, tokenizer, 2).ids)).toBe('ix');
  });
});

describe('where a model is', () => {
  it('comes from the Hub with a line for each download', async () => {
    const files = ['config.json', 'model.safetensors', 'tokenizer.json'];
    const data = files.map((file) => readFile(join(folder, 'plain', file)).then((data) => [file, { data }]));
    const hub = await startHub('owner/model', Object.fromEntries(await Promise.all(data)));
    vi.stubEnv('HF_ENDPOINT', hub.url);
    vi.stubEnv('HF_HOME', join(folder, 'hub'));
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      await openModel(await findModel('owner/model'), cpuDevice());
      expect(write.mock.calls.map(([line]) => String(line).split(',')[0])).toEqual(
        files.map((file) => `downloaded ${file}`),
      );
    } finally {
      write.mockRestore();
      vi.unstubAllEnvs();
      await hub.close();
    }
  });

  it('is described with all its parameters, quantised or not', async () => {
    const say = vi.spyOn(console, 'error').mockReturnValue();
    for (const quantize of [undefined, 'nf4'] as const) {
      describeModel('plain', await openModel(await findModel(join(folder, 'plain')), cpuDevice(), quantize));
    }
    const [[plain], [quantized]] = say.mock.calls;
    say.mockRestore();
    expect(quantized).toBe(plain);
  });

  it('is found in folders, runs and adapters, and else on the Hub', async () => {
    const at = (name: string) => join(folder, name);
    expect(await findModel(at('plain'))).toEqual({ base: at('plain'), adapters: [] });
    expect(await findModel(at('run'))).toEqual({ base: at('run/model'), adapters: [] });
    expect(await findModel(at('lora'))).toEqual({ base: at('run/model'), adapters: [at('lora/adapter')] });
    expect(await findModel(at('lora/adapter'))).toEqual({
      base: at('run/model'),
      adapters: [at('lora/adapter')],
    });
    expect(await findModel('openai-community/gpt2')).toEqual({ base: 'openai-community/gpt2', adapters: [] });
    await expect(findModel(at('prompt.txt'))).rejects.toThrow(
      /model: expected (a folder|the folder of a model)/,
    );
    await expect(findModel(folder)).rejects.toThrow('model: expected config.json with model.safetensors');
  });
});
