// Stands in for a command that trains: takes its flags, leaves its files, in no time.
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

process.once('disconnect', () => process.exit(1));
process.channel?.unref();
const flags = process.argv.slice(3);
const flag = (name) => (flags.includes(name) ? flags[flags.indexOf(name) + 1] : undefined);
const resumed = flag('--resume');
const run = resumed ?? join(flag('--out'), 'fake');
const settings = JSON.parse(readFileSync(resumed ? join(run, 'config.json') : flag('--config'), 'utf8'));
console.log(
  `${process.argv[2]} ${flags.join(' ')}; threads ${process.env.DAWNGRAD_THREADS}, lr ${process.env.DAWNGRAD_LR}`,
);
if (settings.fail === 'start') {
  console.error('dawngrad: finetune: expected data, got none');
  process.exit(1);
}
mkdirSync(run, { recursive: true });
if (!resumed) writeFileSync(join(run, 'config.json'), JSON.stringify(settings));
const last = join(run, 'last.safetensors');
const stopAt = Math.min(Number(flag('--stop-at')), settings.steps);
let step = existsSync(last) ? Number(readFileSync(last, 'utf8')) : 0;
let stopped = false;
process.once('SIGINT', () => (stopped = true));
const note = (line) => appendFileSync(join(run, 'metrics.jsonl'), `${JSON.stringify(line)}\n`);
while (step < stopAt && !stopped) {
  step++;
  if (settings.pause) await new Promise((resolve) => setTimeout(resolve, settings.pause));
  const loss = settings.fail === 'nan' && step > 3 ? null : (Math.log10(settings.lr) + 2) ** 2 + 1 / step;
  note({ step, loss });
  if (loss === null) {
    console.error('dawngrad: Trainer: the loss became NaN at step 4; lower the learning rate');
    process.exit(1);
  }
  // Best at step 6, and worse from there.
  if (step % settings.evaluateEvery === 0) note({ step, validation: loss + 0.01 * Math.abs(step - 6) });
  if (settings.fail === 'early' && step === 4) {
    writeFileSync(join(run, 'result.json'), '{"stopped":"early stopping"}');
    break;
  }
}
writeFileSync(last, String(step));
if (step === settings.steps) writeFileSync(join(run, 'result.json'), '{}');
