/** Every setting as a list: what flags, help texts and error messages need to know of the schema. */
import { z } from 'zod';
import { type ConfigKey, configSchema, FIELDS, type Group } from './fields.ts';

export interface Setting {
  /** In code and config files. */
  readonly key: ConfigKey;
  /** On the command line, without its dashes. */
  readonly flag: string;
  readonly group: Group;
  readonly description: string;
  /** Undefined and null where the default is not a value of its own. */
  readonly default: unknown;
  readonly kind: 'number' | 'boolean' | 'text' | 'list' | 'number or text';
  /** What may be given, such as `a whole number from 1 to 100`. */
  readonly allowed: string;
}

/** The part of JSON Schema that the settings use. */
interface Described {
  type?: string;
  enum?: string[];
  items?: Described;
  const?: string;
  anyOf?: Described[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  description?: string;
  default?: unknown;
  flag?: string;
}

const described = (z.toJSONSchema(configSchema, { io: 'input' }).properties ?? {}) as Record<ConfigKey, Described>;

/** All settings in the order of the schema. */
export const SETTINGS: readonly Setting[] = Object.entries(described).map(([key, field]) => ({
  key: key as ConfigKey,
  flag: field.flag ?? kebab(key),
  group: groupOf(key),
  description: field.description!,
  default: field.default,
  kind: kindOf(field),
  allowed: allowedBy(field),
}));

function groupOf(key: string): Group {
  return (Object.keys(FIELDS) as Group[]).find(group => Object.hasOwn(FIELDS[group], key))!;
}

/** `batchSize` → `batch-size`. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
}

function kindOf(field: Described): Setting['kind'] {
  const parts = (field.anyOf ?? [field]).filter(({ type }) => type !== 'null');
  if (parts.length > 1) return 'number or text';
  const [{ type }] = parts;
  if (type === 'array') return 'list';
  return type === 'boolean' ? 'boolean' : type === 'string' ? 'text' : 'number';
}

function allowedBy(field: Described): string {
  if (field.anyOf) return field.anyOf.map(allowedBy).join(' or ');
  if (field.enum) return field.enum.length === 1 ? `only ${field.enum[0]}` : `one of ${field.enum.join(', ')}`;
  if (field.const !== undefined) return field.const;
  if (field.type === 'boolean') return 'true or false';
  if (field.type === 'array') return field.items?.enum ? allowedBy(field.items) : 'a list of texts';
  if (field.type === 'string') return 'a text that is not empty';
  if (field.type === 'null') return 'null';
  const { minimum, exclusiveMinimum, maximum } = field;
  const from = exclusiveMinimum !== undefined ? ` above ${exclusiveMinimum}` : ` from ${minimum}`;
  // The largest integer that a double holds is no bound that anybody meant.
  const to = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? '' : ` to ${maximum}`;
  return `${field.type === 'integer' ? 'a whole number' : 'a number'}${from}${to}`;
}
