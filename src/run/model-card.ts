/** README.md of a tuned model: where it comes from, how it was made, what came of it, and how to use it. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { readJsonl } from '../io/jsonl.ts';
import { packageFile } from '../vocab/package-root.ts';
import type { FoundClass } from './label.ts';
import type { Manifest } from './manifest.ts';
import type { Run } from './store.ts';

/** How a run made a model. */
export interface Recipe {
  readonly config: Config;
  readonly manifest: Manifest;
  /** Last line of metrics.jsonl; undefined without training. */
  readonly metrics?: Readonly<Record<string, unknown>>;
}

export interface Card {
  /** The model that was started from, as it was given. */
  readonly base: string;
  readonly license: string;
  /** Which network of the run; undefined when nothing was trained. */
  readonly role?: 'teacher' | 'student';
  readonly classes: readonly { name: string; count?: number }[];
  readonly recipe?: Recipe;
  /** Whether transformers for Python has such an image tower. */
  readonly inPython: boolean;
  /** Chapters on how to use the files. */
  readonly usage?: string;
  /** Name and SHA-256 of files that identify the model. */
  readonly hashes?: readonly (readonly [name: string, sha256: string])[];
}

// A longer table is no help to a reader; classes.json has all.
const MOST_CLASSES = 100;

/** Writes `model/README.md`; it holds nothing that differs between two runs of the same bytes. */
export async function writeModelCard(run: Run, classes: readonly FoundClass[]): Promise<void> {
  const { checkpoint } = await run.clip();
  const card: Card = {
    base: run.config.model,
    license: await licenseOf(run.config.model),
    role: 'teacher',
    classes,
    recipe: { config: run.config, manifest: run.manifest, metrics: await lastMetrics(run.folder) },
    inPython: checkpoint.config.vision_config.model_type !== 's3a_resnet',
  };
  await writeAtomic(run.path('model', 'README.md'), modelCard(card));
}

/** The last line of a run's metrics.jsonl, without what differs from run to run; undefined when there is none. */
export async function lastMetrics(folder: string): Promise<Record<string, unknown> | undefined> {
  const path = join(folder, 'metrics.jsonl');
  if (!existsSync(path)) return undefined;
  const last = (await readJsonl(path)).at(-1) as Record<string, unknown> | undefined;
  if (!last) return undefined;
  const { imagesPerSecond: _, ...rest } = last;
  return rest;
}

/** The licence that a model's own card states, or `unknown`. */
export async function licenseOf(model: string): Promise<string> {
  const path = model === 'demo' ? packageFile('demo/model/README.md') : join(model, 'README.md');
  const text = await readFile(path, 'utf8').catch(() => '');
  const header = /^---\r?\n(.*?)\r?\n---/s.exec(text)?.[1] ?? '';
  return /^license:\s*["']?([\w.-]{1,60})["']?\s*$/m.exec(header)?.[1] ?? 'unknown';
}

/** The text of the card. */
export function modelCard(card: Card): string {
  const { base, classes, recipe, role, usage, inPython } = card;
  const images = classes.reduce((sum, { count }) => sum + (count ?? 0), 0);
  const made = recipe
    ? `${role ? 'The image tower of' : 'The model'} ${code(shortName(base))}${role ? `, tuned by s3a on ${images} unlabelled images` : `; s3a named ${images} unlabelled images with it`} with names from
the vocabulary ${code(shortName(recipe.config.vocab))}. The text tower is unchanged.`
    : `The model ${code(shortName(base))}, written by s3a.`;
  const parts = [
    header(card),
    `# ${oneLine(shortName(base))}${role ? ', tuned without labels' : ''}`,
    made,
    ...(inPython
      ? []
      : [
          `Its image tower (${code('s3a_resnet')}) is one that transformers for Python does not have: there the model cannot be loaded. The
ONNX files run in transformers.js and in ONNX Runtime, and s3a loads the folder.`,
        ]),
    ...(usage ? [usage.trim()] : []),
    ...(classes.length > 0 ? [classesChapter(card)] : []),
    ...(recipe ? [recipeChapter(recipe, role)] : []),
    ...(card.hashes && card.hashes.length > 0
      ? [
          `## Checksums\n\n${table(
            ['file', 'SHA-256'],
            card.hashes.map(([name, hash]) => [name, code(hash)]),
          )}`,
        ]
      : []),
  ];
  return `${parts.join('\n\n')}\n`;
}

function header({ base, license, inPython, recipe }: Card): string {
  const hub = hubName(base);
  // JSON's strings are YAML's.
  const line = (key: string, value: string): string =>
    `${key}: ${/^[\w./-]+$/.test(value) ? value : JSON.stringify(value)}`;
  return [
    '---',
    line('license', license),
    ...(hub ? [line('base_model', hub), 'base_model_relation: finetune'] : []),
    'pipeline_tag: zero-shot-image-classification',
    `library_name: ${inPython ? 'transformers' : 'transformers.js'}`,
    'tags:',
    ...['clip', 's3a', 'onnx', 'transformers.js', ...(recipe?.metrics ? ['self-training'] : [])].map(tag => `- ${tag}`),
    '---',
  ].join('\n');
}

function classesChapter({ classes, recipe }: Card): string {
  const shown = classes.slice(0, MOST_CLASSES);
  const rest = classes.length - shown.length;
  const counted = classes.some(({ count }) => count !== undefined);
  const templates = recipe?.config.templates ?? [];
  return `## Classes

\`classes.json\` holds the ${classes.length} names that were found${counted ? ', with their numbers of images' : ''}, and \`prototypes.npy\` one unit row a name: the label of an image
is the name whose row has the largest product with its embedding.${
    templates.length === 0
      ? ''
      : ` A row is the mean of the name in ${templates.length === 1 ? 'the text' : 'the texts'}
${templates.map(code).join(', ')}.`
  }

${table(
  counted ? ['name', 'images'] : ['name'],
  shown.map(({ name, count }) => [cell(name), ...(counted ? [String(count ?? '')] : [])]),
)}${rest > 0 ? `\n\nand ${rest} more.` : ''}`;
}

function recipeChapter({ config, manifest, metrics }: Recipe, role: Card['role']): string {
  const { k, llm, epochs, batchSize, seed, threshold, instanceWeight, structuralWeight } = config;
  const info = (stage: keyof Manifest['stages']): Readonly<Record<string, unknown>> =>
    manifest.stages[stage]?.info ?? {};
  const discovery = [
    ['clusters', `${info('cluster').k ?? k}${k === 'estimate' ? ' (estimated)' : ''}`],
    ...(config.method === 's3a'
      ? [
          ['rounds of vote', String(config.rounds)],
          ['candidates a cluster', String(config.candidates)],
        ]
      : []),
    ['phrases from', String(llm)],
    ['seed', String(seed)],
  ];
  const training = [
    ['epochs', String(epochs)],
    ['batch size', String(batchSize)],
    ['learning rate', config.lr === null ? `2e-5 · ${batchSize}/256` : String(config.lr)],
    ['weight decay, layer decay', `${config.weightDecay}, ${config.layerDecay}`],
    ['teacher’s decay', `${config.emaStart} to ${config.emaEnd} over ${config.emaSteps} steps`],
    ['threshold', String(threshold)],
    ['weights of the losses', `${instanceWeight} (instance), ${structuralWeight} (structural)`],
  ];
  const figures = Object.entries(metrics ?? {}).filter(([, value]) => typeof value === 'number');
  const versions = Object.entries(manifest.versions).filter(([name]) => name !== 'platform');
  const hash = info('scan').sha256;
  return [
    `## Recipe

Method: S³A (Zhang et al., AAAI 2024): cluster, vote, prompt, realign${metrics ? ', then self-training' : ''}, ${config.method === 's3a' ? 'as published' : 'by s3a’s `--method auto`'}.${role ? ` The weights are the ${role}’s of the last step; no label was used to choose them.` : ''}

${table(['setting', ''], metrics ? [...discovery, ...training] : discovery)}`,
    ...(figures.length > 0
      ? [
          `Figures of the last step that was logged; none of them needs a label:

${table(
  ['figure', ''],
  figures.map(([name, value]) => [code(name), String(Number(Number(value).toPrecision(6)))]),
)}`,
        ]
      : []),
    `Made with ${versions.map(([name, version]) => `${name} ${version}`).join(', ')}.${
      typeof hash === 'string' ? ` SHA-256 of the list of images with their hashes:\n${code(hash)}.` : ''
    }`,
  ].join('\n\n');
}

/** The hub's name of a model that was given by it. */
export function hubName(model: string): string | undefined {
  const name = model.replace(/^hf-hub:/, '').replace(/@[\w.-]+$/, '');
  return /^[\w.-]+\/[\w.-]+$/.test(name) && !existsSync(name) ? name : undefined;
}

/** A hub's name or a setting's word as it is; of a path its last part, because a card goes to other machines. */
function shortName(given: string): string {
  return hubName(given) ?? (basename(given) || 'model');
}

/** A path or name on one line. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}`<>[\]|]/gu, ' ').trim();
}

function code(text: string): string {
  return `\`${text.replace(/[\p{Cc}`]/gu, ' ').replaceAll('|', '\\|')}\``;
}

/** A name that cannot leave its cell. */
function cell(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ').replace(/[\\`*_{}[\]<>|#!~]/g, '\\$&');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n');
}
