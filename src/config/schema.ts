/** Settings, checked: one clear line with the key, the value and what is allowed. */
import type { z } from 'zod';
import { S3aError } from '../errors.ts';
import { type Config, type ConfigInput, configSchema } from './fields.ts';
import { SETTINGS, type Setting } from './settings.ts';
import { nearest } from './suggest.ts';

export { type Config, type ConfigInput, type ConfigKey, configSchema } from './fields.ts';

/**
 * Complete settings from given ones.
 * @param where what to call the place they come from in messages, such as a file's name
 * @throws S3aError CONFIG for an unknown key, a wrong type, a value out of range, or settings that do not fit together
 */
export function parseConfig(input: unknown, where?: string): Config {
  const config = check(input, where);
  checkTogether(config, where);
  return config;
}

/**
 * The given settings, each checked, without defaults for the others.
 * @throws S3aError CONFIG for an unknown key, a wrong type or a value out of range
 */
export function parsePartialConfig(input: unknown, where?: string): ConfigInput {
  const config: Record<string, unknown> = check(input, where);
  return Object.fromEntries(
    Object.entries(input as Record<string, unknown>)
      .filter(([, value]) => value !== undefined)
      .map(([key]) => [key, config[key]]),
  );
}

/** Peak and floor of the learning rate (METHOD §3: 2e-5 · batch / 256, and a twentieth of it). */
export function learningRates({ lr, minLr, batchSize }: Config): { peak: number; floor: number } {
  const peak = lr ?? (2e-5 * batchSize) / 256;
  return { peak, floor: minLr ?? peak / 20 };
}

/** What a setting must be, when the value is not that; undefined when it is. An item of a list is given alone. */
export function whyNot(setting: Setting, value: unknown): string | undefined {
  const parsed = configSchema.shape[setting.key].safeParse(setting.kind === 'list' ? [value] : value);
  if (parsed.success) return undefined;
  const [issue] = parsed.error.issues;
  return allowed({ ...issue, path: [setting.key, ...issue.path] }, setting.allowed);
}

function check(input: unknown, where: string | undefined): Config {
  const parsed = configSchema.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const at = where === undefined ? '' : `${where}: `;
  if (issue.code === 'unrecognized_keys') {
    const [key] = issue.keys;
    if (key === 'preset') {
      const hint = 'In a program its settings are spread into the others: ...PRESETS.cpu.';
      throw new S3aError('CONFIG', `${at}preset is no setting of its own here`, hint);
    }
    const guess = nearest(
      key,
      SETTINGS.map(setting => setting.key),
    );
    const all = SETTINGS.map(setting => setting.key).join(', ');
    throw new S3aError(
      'CONFIG',
      `${at}unknown setting ${key} = ${show((input as Record<string, unknown>)[key])}`,
      guess ? `Did you mean ${guess}?` : `The settings are ${all}.`,
    );
  }
  const setting = SETTINGS.find(({ key }) => key === issue.path[0]);
  if (!setting) throw new S3aError('CONFIG', `${at}the settings are not an object of keys and values: ${show(input)}`);
  throw new S3aError(
    'CONFIG',
    `${at}${issue.path.join('.')} = ${show(valueAt(input, issue.path))}, but it must be ${allowed(issue, setting.allowed)}`,
  );
}

/** What is only wrong in company. */
function checkTogether(config: Config, where = ''): void {
  const { llm, llmModel, llmReplay, kMin, kMax } = config;
  const at = where === '' ? '' : `${where}: `;
  if ((llm === 'openai' || llm === 'gguf') && llmModel === undefined) {
    const what = llm === 'gguf' ? 'the .gguf file' : 'the language model';
    throw new S3aError('CONFIG', `${at}llm = "${llm}" needs llmModel`, `Name ${what} with --llm-model.`);
  }
  if (llm === 'replay' && llmReplay === undefined) {
    throw new S3aError('CONFIG', `${at}llm = "replay" needs llmReplay`, 'Name a prompts.jsonl with --llm-replay.');
  }
  const { embeddings, prototypes, names, rows } = config;
  const brought = { embeddings, prototypes, names };
  const given = Object.values(brought).some(path => path !== undefined);
  const missing = Object.entries(brought).find(([, path]) => path === undefined);
  if ((given || rows !== undefined) && missing) {
    const hint = 'Features of another encoder are given by --embeddings, --prototypes and --names together.';
    throw new S3aError('CONFIG', `${at}${missing[0]} is missing`, hint);
  }
  if (embeddings !== undefined && (llm === 'openai' || llm === 'gguf' || llm === 'replay')) {
    const hint = 'Leave it out: phrases would have to be embedded by the text tower of the other model.';
    throw new S3aError('CONFIG', `${at}llm = "${llm}" has no use with embeddings`, hint);
  }
  if (kMin > kMax) throw new S3aError('CONFIG', `${at}kMin = ${kMin} is more than kMax = ${kMax}`);
  const { peak, floor } = learningRates(config);
  if (floor > peak) throw new S3aError('CONFIG', `${at}minLr = ${floor} is more than lr = ${peak}`);
}

function allowed(issue: z.core.$ZodIssue, byType: string): string {
  // A rule of our own says in its message what it wants; those of a list speak of its items.
  if (issue.code === 'custom') return issue.message;
  if (issue.path.length > 1) return byType.startsWith('one of ') ? byType : 'a text that is not empty';
  return issue.code === 'too_small' && issue.origin === 'array' ? 'a list with at least one text' : byType;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], input);
}

/** A value on one short line. */
function show(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
