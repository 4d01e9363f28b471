import { type Command, Option } from 'commander';
import type { ConfigDefinition, FieldInfo, FieldTable } from '../train/config.js';

/** How settings reach a command, for the end of its help. */
export const SETTINGS_HELP = `Settings come from flags, else from DAWNGRAD_… variables (--batch-size is DAWNGRAD_BATCH_SIZE; lists as JSON, or of paths and
names with commas), else from --config, else they are as above. Every --no-x
has its --x, and the other way round, against what a file says.`;

/** Adds --config and an option per setting. */
export function addConfigOptions<F extends FieldTable>(
  command: Command,
  definition: ConfigDefinition<F>,
): Command {
  command.option('--config <file>', 'JSON file with any of the settings below, by their names in camelCase');
  for (const field of definition.fields) {
    if (field.kind !== 'flag') command.addOption(optionOf(field));
    else for (const option of switchOf(field)) command.addOption(option);
  }
  return command;
}

/** A flag and its opposite, of which the help shows the one that changes what is so by itself. */
function switchOf({ flag, help, initial }: FieldInfo): Option[] {
  const [on, off] = [flag, `--no-${flag.slice(2)}`].map((name) => new Option(name, help));
  // The first of the two decides: without it, commander would take --no-x for a default of true.
  return [on.hideHelp(initial === true), off.hideHelp(initial !== true)];
}

function optionOf({ kind, flag, valueName, help, initial }: FieldInfo): Option {
  const shown = initial === undefined || initial === null ? '' : ` (default: ${[initial].flat().join(', ')})`;
  return new Option(`${flag} <${valueName}${kind === 'list' ? '...' : ''}>`, help + shown);
}

/** The settings among a command's flags, without those that nobody gave. */
export function givenSettings<F extends FieldTable>(
  flags: Readonly<Record<string, unknown>>,
  { fields }: ConfigDefinition<F>,
): Record<string, unknown> {
  const given = fields.filter(({ name }) => flags[name] !== undefined);
  return Object.fromEntries(given.map(({ name }) => [name, flags[name]]));
}
