/** A reporter of vitest's that prints a line per file, and what failed: thousands of cases make thousands of dots. */
export default class {
  onTestModuleEnd(module) {
    const tests = [...module.children.allTests()];
    const count = (state) => tests.filter((test) => test.result().state === state).length;
    const failed = tests.filter((test) => test.result().state === 'failed');
    const errors = module.errors();
    const counts = [`${count('passed')} passed`];
    if (failed.length + errors.length > 0) counts.push(`${failed.length + errors.length} FAILED`);
    if (count('skipped') > 0) counts.push(`${count('skipped')} skipped`);
    const seconds = (module.diagnostic().duration / 1000).toFixed(1);
    console.log(`${module.relativeModuleId}: ${counts.join(', ')} (${seconds} s)`);
    for (const error of errors) print('does not load', error);
    for (const test of failed) for (const error of test.result().errors) print(test.fullName, error);
  }

  onTestRunEnd(_modules, errors) {
    for (const error of errors) print('outside of tests', error);
  }
}

function print(what, { message, stacks = [] }) {
  const places = stacks.slice(0, 2).map(({ file, line }) => `\n    at ${file}:${line}`);
  console.log(`  FAILED ${what}\n    ${message.replaceAll('\n', '\n    ')}${places.join('')}`);
}
