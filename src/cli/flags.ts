/** Command-line options made from the schema of the settings, and settings made from options. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Group } from '../config/fields.ts';
import { PRESET_NAMES } from '../config/presets.ts';
import { type ConfigSources, findConfigFile } from '../config/resolve.ts';
import { type ConfigInput, whyNot } from '../config/schema.ts';
import { SETTINGS, type Setting } from '../config/settings.ts';

const HEADINGS: Record<Group, string> = {
  model: 'Model and device:',
  run: 'Images:',
  discover: 'Discovery:',
  llm: 'Phrases for the prompt step:',
  train: 'Training:',
};

/** Adds the options of the wanted settings, with --preset and --config. */
export function addSettings(command: Command, wanted: (setting: Setting) => boolean = () => true): Command {
  command
    .addOption(new Option('--preset <name>', 'Named settings that the others refine').choices(PRESET_NAMES))
    .option('--config <file>', 'Settings in a .json file; without it s3a.json in the current folder, if it is there');
  for (const setting of SETTINGS.filter(wanted)) {
    command.addOption(optionOf(setting).helpGroup(HEADINGS[setting.group]));
  }
  return command;
}

/** Where the settings of a command come from: its options, a preset, a file. */
export function settingSources(command: Command): ConfigSources {
  const flags: Record<string, unknown> = {};
  for (const setting of SETTINGS) {
    const name = optionOf(setting).attributeName();
    // What commander fills in by itself must not hide what a file says.
    if (command.getOptionValueSource(name) === 'cli') flags[setting.key] = command.getOptionValue(name);
  }
  const { preset, config } = command.opts<{ preset?: string; config?: string }>();
  return { preset, file: config ?? findConfigFile(process.cwd()), flags: flags as ConfigInput };
}

function optionOf(setting: Setting): Option {
  const { flag, kind, description, allowed } = setting;
  if (kind === 'boolean') {
    // A switch that is on by default is only of use to turn it off.
    const off = setting.default === true;
    return new Option(
      off ? `--no-${flag}` : `--${flag}`,
      off ? `Do not ${lowerFirst(description)}` : description,
    ).default(undefined);
  }
  const option = new Option(`--${flag} <${placeholder(setting)}>`, description + defaultText(setting));
  return option.argParser((text: string, before: unknown) => {
    const value = kind.startsWith('number') && text.trim() !== '' && !Number.isNaN(Number(text)) ? Number(text) : text;
    const wrong = whyNot(setting, value);
    if (wrong !== undefined)
      throw new InvalidArgumentError(`It must be ${wrong === allowed ? withoutNull(allowed) : wrong}.`);
    return kind === 'list' ? [...((before as string[] | undefined) ?? []), value] : value;
  });
}

function placeholder({ kind, key, allowed }: Setting): string {
  if (allowed.startsWith('one of ')) return allowed.slice(7).split(', ').join('|');
  if (kind === 'number or text') return 'n|estimate|auto';
  return kind === 'number' ? 'n' : key === 'llmReplay' ? 'file' : 'text';
}

function defaultText({ default: value, kind }: Setting): string {
  if (value === undefined || value === null) return '';
  if (kind === 'list') return (value as string[]).length > 0 ? ` (default: ${(value as string[]).length} of them)` : '';
  return ` (default: ${String(value)})`;
}

function withoutNull(allowed: string): string {
  return allowed.replace(/ or null$/, '');
}

function lowerFirst(text: string): string {
  return text[0].toLowerCase() + text.slice(1);
}
