/** The one schema of all settings: flags, config files, help texts and manifests derive from it. */
import { z } from 'zod';
import { discoverFields } from './fields/discover.ts';
import { llmFields } from './fields/llm.ts';
import { modelFields } from './fields/model.ts';
import { runFields } from './fields/run.ts';
import { trainFields } from './fields/train.ts';

/**
 * All settings by the part of the work that they belong to, each with its range, its default and its line of help; `flag` is what
 * it is called on the command line where that is not its key in kebab case. Help texts show one section a group, in this order.
 */
export const FIELDS = {
  model: modelFields,
  run: runFields,
  discover: discoverFields,
  llm: llmFields,
  train: trainFields,
};

export type Group = keyof typeof FIELDS;

/** The preset `paper` is METHOD to the letter; without it discovery goes by `--method auto`. */
export const configSchema = z.strictObject({
  ...modelFields,
  ...runFields,
  ...discoverFields,
  ...llmFields,
  ...trainFields,
});

/** All settings, complete. */
export type Config = z.output<typeof configSchema>;
/** Settings as given; what is left out gets its default. */
export type ConfigInput = z.input<typeof configSchema>;
export type ConfigKey = keyof Config;
