/** What `dawngrad classify` says of its data, its model and its results. */
import { formatJoin } from '../data/oscars.js';
import { lengthStatistics } from '../data/lengths.js';
import type { Device } from '../device/types.js';
import type { ClassifySetup } from '../train/classify.js';
import type { ClassifyJob } from '../train/classify-job.js';
import { formatFolds } from '../train/classify-folds.js';
import { classifyMemory } from '../train/classify-memory.js';
import { type ClassifyResult, type FoldsResult, PARTS } from '../train/classify-types.js';
import type { ClassifyConfig } from '../train/classify-config.js';
import { formatMetricRows } from '../train/classifier-report.js';
import { formatDuration } from '../train/progress.js';
import type { RunFolder } from '../train/run-folder.js';

const n = (x: number): string => x.toLocaleString('en');
const percent = (x: number): string => `${(100 * x).toPrecision(3)} %`;
const line = (label: string, text: string): string => `${label.padEnd(10)} ${text}`;

/** Documents, classes, lengths, twins. */
export function describeSetup({ config, data, tokenizer }: ClassifySetup): void {
  const { documents, tokens, skipped, joins } = data;
  const positives = documents.filter(({ label }) => label === 1).length;
  const groups = new Set(documents.map(({ group }) => group)).size;
  console.log(
    line(
      'Data',
      `${n(documents.length)} documents of ${config.data.join(', ')}, ${n(positives)} of class 1 (${percent(positives / documents.length)}), ${n(groups)} groups`,
    ),
  );
  for (const join of joins) {
    for (const text of formatJoin(join).split('\n')) console.log(line('', text));
  }
  if (skipped.size > 0) {
    const reasons = [...skipped].map(([reason, count]) => `${n(count)} with ${reason}`);
    console.log(line('', `rows left out: ${reasons.join(', ')}`));
  }
  const { median, min, max, total } = lengthStatistics(tokens.counts);
  console.log(
    line(
      'Tokens',
      `${n(total)}, ${n(min)} to ${n(max)} of a document (median ${n(median)}); tokenizer of ${n(tokenizer.size)}${tokens.cached ? '; from the cache' : ''}`,
    ),
  );
  const [{ twins }] = data.divisions;
  if (twins.documents === 0) return;
  console.log(
    line(
      twins.divided > 0 ? 'WARNING' : 'Twins',
      `${n(twins.documents)} documents have a near-duplicate${
        twins.divided > 0
          ? `, ${n(twins.divided)} of them in another part: what is measured on these was learnt by heart`
          : '; none is divided from it'
      }`,
    ),
  );
}

/** Splits, model, steps. */
export function describeJob({ config, data, division, parts, settings, parameters }: ClassifyJob): void {
  const text = PARTS.map((part) => {
    const { documents, positives, groups } = parts[part];
    return `${part} ${n(documents)} (${n(positives)} of class 1, ${n(groups)} groups)`;
  }).join('; ');
  const folds = data.divisions.length;
  console.log(line('Split', division.fold === null ? text : `fold 1 of ${folds}: ${text}`));
  console.log(line('Model', modelText(config)));
  console.log(
    line(
      '',
      `${n(parameters.total)} parameters${parameters.trainable < parameters.total ? `, ${n(parameters.trainable)} of them trained (${percent(parameters.trainable / parameters.total)})` : ''}`,
    ),
  );
  const rare = {
    none: '',
    posWeight: `, class 1 weighs ${settings.posWeight.toPrecision(3)}`,
    focal: `, focal loss with γ = ${config.focal}`,
    balanced: ', as many documents of either class',
  }[config.imbalance];
  console.log(
    line(
      'Steps',
      `${n(settings.steps)} of ${config.accumulate > 1 ? `${config.accumulate} × ` : ''}${config.batchSize} documents, ${settings.epochs.toPrecision(3)} epochs, learning rate ${settings.lr}${rare}, seed ${config.seed}`,
    ),
  );
}

function modelText(config: ClassifyConfig): string {
  const {
    encoder,
    dim,
    layers,
    heads,
    window,
    globals,
    base,
    tune,
    chunk,
    overlap,
    maxChunks,
    keep,
    pooling,
  } = config;
  const sizes = `${layers} layers, width ${dim}, ${heads} heads`;
  if (encoder === 'window') return `window of ${window} tokens, ${globals} global vectors, ${sizes}`;
  const reader =
    encoder === 'gpt2'
      ? `${base} (${tune}${tune === 'lora' ? `, rank ${config.rank}` : ''})`
      : `${encoder}, ${sizes}`;
  const most = maxChunks === null ? 'all chunks' : `at most ${maxChunks} chunks (${keep})`;
  const grads = config.sampled === null ? '' : `, gradients through ${config.sampled}`;
  return `${reader}; ${most} of ${chunk} tokens${overlap > 0 ? `, overlap ${overlap}` : ''}${grads}; pooling ${pooling}`;
}

/** The memory of a step on the longest documents. */
export function describeMemory(job: ClassifyJob, device: Device): void {
  const { documents, longest, weightBytes, restBytes, peakBytes } = classifyMemory(job);
  const mega = (bytes: number): string => {
    const size = bytes / 2 ** 20;
    return `${size < 10 ? size.toFixed(1) : n(Math.round(size))} MiB`;
  };
  console.log(
    line(
      'Memory',
      `${mega(peakBytes)} at the peak of a step on the ${documents === 1 ? 'longest document' : `${documents} longest documents`} (up to ${n(longest)} tokens), ${mega(restBytes)} between steps, ${mega(weightBytes)} of weights`,
    ),
  );
  if (device.info.kind === 'cpu')
    console.log(line('', 'as a GPU would hold it; the CPU device needs about as much'));
}

/** The table of the test documents, and what lies in the folder. */
export function describeEnd(result: ClassifyResult, run: RunFolder): void {
  const { parts, threshold, best, step, stopped, seconds } = result;
  const { documents, positives } = parts.test;
  console.log(`\nTest, ${n(documents)} documents, ${n(positives)} of class 1, with bootstrap intervals:`);
  console.log(formatMetricRows(result.test));
  for (const { name, confusion: c } of result.test) {
    console.log(
      `${name}: of class 1 ${c.truePositive} found and ${c.falseNegative} missed, of class 0 ${c.trueNegative} right and ${c.falsePositive} wrong`,
    );
  }
  const how = stopped === 'early stopping' ? 'stopped early' : 'trained';
  console.log(
    `\n${n(step)} steps, ${how} in ${formatDuration(1000 * seconds)}; best PR-AUC on validation ${best.prAuc.toFixed(4)} at step ${best.step}, threshold ${threshold.toFixed(4)}. Left in ${run.path}:`,
  );
  console.log('  model.safetensors  config.json  metrics.jsonl  predictions.jsonl  result.json  report.html');
}

/** The folds one by one, and all documents together. */
export function describeFolds(result: FoldsResult, run: RunFolder): void {
  console.log('\nTest documents of each fold:');
  console.log(formatFolds(result));
  console.log('All documents together, each judged by the run that did not learn from it:');
  console.log(formatMetricRows(result.test));
  console.log(`Left in ${run.path}:`);
  console.log('  fold-1/ …  config.json  predictions.jsonl  result.json  report.html');
}
