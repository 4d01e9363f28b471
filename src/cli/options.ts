import { InvalidArgumentError, Option } from 'commander';

/** A parser for integers of at least `min`. */
export function integer(min: number): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(n) || n < min)
      throw new InvalidArgumentError(`expected an integer of at least ${min}.`);
    return n;
  };
}

/** A parser for numbers in [min, max]. */
export function number(min: number, max = Infinity): (text: string) => number {
  return (text) => {
    const n = Number(text);
    if (text.trim() === '' || !(n >= min && n <= max)) {
      throw new InvalidArgumentError(
        `expected a number ${max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`}.`,
      );
    }
    return n;
  };
}

/** --stop-at, which belongs to a call of a command as --resume does, and is no setting of the run. */
export function stopAtOption(): Option {
  return new Option('--stop-at <step>', 'save and stop after this step, for --resume to go on').argParser(
    integer(1),
  );
}
