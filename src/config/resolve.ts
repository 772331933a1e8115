/** Settings from all the places they can come from: flags over the config file over the preset over the defaults. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { S3aError } from '../errors.ts';
import { readJson } from '../io/json.ts';
import type { Config, ConfigInput } from './fields.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from './presets.ts';
import { parseConfig, parsePartialConfig } from './schema.ts';
import { nearest } from './suggest.ts';

export interface ConfigSources {
  /** `paper`, `cpu` or `quick`; wins over the one that the file names. */
  preset?: string;
  /** A .json file of settings, which may also hold `preset`. */
  file?: string;
  flags?: ConfigInput;
}

/**
 * The complete settings.
 * @throws S3aError CONFIG for what is wrong with a setting; READ or JSON for a file that cannot be read
 */
export async function resolveConfig(sources: ConfigSources): Promise<Config> {
  return parseConfig(await resolveOverrides(sources));
}

/**
 * Only what the sources give, for changing the settings of an existing run.
 * @throws S3aError as `resolveConfig`, but for settings that do not fit together
 */
export async function resolveOverrides({ preset, file, flags = {} }: ConfigSources): Promise<ConfigInput> {
  const fromFile = file === undefined ? {} : await readConfigFile(file);
  const named = preset ?? fromFile.preset;
  return {
    ...(named === undefined ? {} : settingsOf(named, preset === undefined ? file : undefined)),
    ...fromFile.settings,
    ...parsePartialConfig(flags),
  };
}

/**
 * The settings of a preset.
 * @param file that names it, if one does
 * @throws S3aError CONFIG for an unknown name
 */
export function settingsOf(preset: string, file?: string): ConfigInput {
  if (!Object.hasOwn(PRESETS, preset)) {
    const guess = nearest(preset, PRESET_NAMES);
    const known = `The presets are ${PRESET_NAMES.join(', ')}.`;
    const at = file === undefined ? '' : `${file}: `;
    throw new S3aError(
      'CONFIG',
      `${at}there is no preset '${preset}'`,
      guess ? `Did you mean ${guess}? ${known}` : known,
    );
  }
  const settings: ConfigInput = structuredClone(PRESETS[preset as PresetName]) as ConfigInput;
  return settings;
}

/** The config file that is read without being named: s3a.json in `folder`, if it is there. */
export function findConfigFile(folder: string): string | undefined {
  const path = join(folder, 's3a.json');
  return existsSync(path) ? path : undefined;
}

async function readConfigFile(path: string): Promise<{ preset?: string; settings?: ConfigInput }> {
  const json = await readJson(path, 1 << 20);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new S3aError('CONFIG', `${path} is not a JSON object of settings`);
  }
  const { preset, ...settings } = json as Record<string, unknown>;
  if (preset !== undefined && typeof preset !== 'string') {
    throw new S3aError('CONFIG', `${path}: preset = ${JSON.stringify(preset)}, but it must be the name of one`);
  }
  return { preset, settings: parsePartialConfig(settings, path) };
}
