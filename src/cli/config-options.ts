import { type Command, Option } from 'commander';
import type { ConfigDefinition, FieldInfo, FieldTable } from '../train/config.js';

/** How settings reach a command, for the end of its help. */
export const SETTINGS_HELP = `Settings come from flags, else from DAWNGRAD_… variables (--batch-size is DAWNGRAD_BATCH_SIZE; lists as JSON, or of paths and
names with commas), else from --config, else they are as above.`;

/** Adds --config and an option per setting. */
export function addConfigOptions<F extends FieldTable>(
  command: Command,
  definition: ConfigDefinition<F>,
): Command {
  command.option('--config <file>', 'JSON file with any of the settings below, by their names in camelCase');
  for (const field of definition.fields) command.addOption(optionOf(field));
  return command;
}

function optionOf({ kind, flag, valueName, help, initial }: FieldInfo): Option {
  const shown =
    initial === undefined || initial === null || kind === 'flag'
      ? ''
      : ` (default: ${[initial].flat().join(', ')})`;
  if (kind === 'flag')
    return new Option(initial === true ? `--no-${flag.slice(2)}` : flag, help).default(undefined, '');
  return new Option(`${flag} <${valueName}${kind === 'list' ? '...' : ''}>`, help + shown);
}

/** The settings among a command's flags, without those that nobody gave. */
export function givenSettings<F extends FieldTable>(
  flags: Readonly<Record<string, unknown>>,
  { fields }: ConfigDefinition<F>,
): Record<string, unknown> {
  // Commander turns --no-capture into a default of true.
  const given = fields.filter(
    ({ name, initial }) => flags[name] !== undefined && !(initial === true && flags[name] === true),
  );
  return Object.fromEntries(given.map(({ name }) => [name, flags[name]]));
}
