/** What a method gets to work with, and how run folders are shared between methods. */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Config } from '../config/schema.ts';
import { hashJson } from '../io/hash.ts';
import { cluster } from '../run/cluster.ts';
import { type Embedded, embed } from '../run/embed.ts';
import type { RunHooks } from '../run/events.ts';
import type { Run } from '../run/store.ts';
import { settingsRead } from './cells.ts';
import { type BenchSplit, type EmbeddedSplit, imagesFolder, openImages } from './data.ts';
import type { Method, MethodContext } from './method.ts';
import { openShared } from './shared-run.ts';

export interface ContextOptions {
  method: Method;
  config: Config;
  protocol: string;
  train: BenchSplit;
  test: { split: BenchSplit; embedded: EmbeddedSplit } | undefined;
  /** Folder of runs of one cell's own. */
  out: string;
  key: string;
  trueNames: () => readonly string[];
  hooks: RunHooks;
}

/** A context with its run folders; `dispose` gives the models back, `remove` also what only this cell needed. */
export interface OpenContext extends MethodContext {
  dispose(): Promise<void>;
  remove(): Promise<void>;
}

/** What a method is run with: runs of the training images, which are opened when they are first asked for. */
export function openContext(options: ContextOptions): OpenContext {
  const { method, config, protocol, train, test, out, key, trueNames, hooks } = options;
  const opened = new Map<string, Promise<Run>>();
  const runConfig = { ...config, images: [train.images] };
  // Settings of discovery and of the phrases decide what can be shared; those of the training come after.
  const found = { ...settingsRead(['discover', 'llm'], config), vocab: config.vocab, seed: config.seed };
  const discovery = join(
    train.folder,
    hashJson({ found, model: config.model, pretrained: config.pretrained }).slice(0, 16),
  );
  const own = join(out, 'runs', key.slice(0, 24));
  const open = async (purpose: 'discovery' | 'training'): Promise<Run> => {
    if (purpose === 'training') {
      await opened.get('discovery');
      return openShared(own, runConfig, [discovery, imagesFolder(train)], hooks);
    }
    if (method.reads.includes('discover') && !existsSync(discovery)) await clustered(train, config, hooks);
    return openShared(discovery, runConfig, [imagesFolder(train)], hooks);
  };
  return {
    config,
    protocol,
    hooks,
    run(purpose) {
      const run = opened.get(purpose) ?? open(purpose);
      opened.set(purpose, run);
      return run;
    },
    filesOf: embedded => neutralNames(embedded, embedded.root === test?.embedded.embedded.root ? test.split : train),
    test: test?.embedded.embedded,
    trueNames() {
      if (!method.knowsNames) throw new TypeError(`${method.name} is not to know the true names`);
      return trueNames();
    },
    async dispose() {
      for (const run of opened.values()) await (await run.catch(() => undefined))?.dispose();
    },
    remove: () => rm(own, { recursive: true, force: true }),
  };
}

/** Clusters the images once for all methods of the same K and seed. */
async function clustered(train: BenchSplit, config: Config, hooks: RunHooks): Promise<void> {
  const run = await openImages(train, config, hooks);
  try {
    await cluster(run, await embed(run));
  } finally {
    await run.dispose();
  }
}

/** File names of a run as the protocol has them; a list of some images may have another root than the whole folder. */
function neutralNames({ root, files }: Embedded, split: BenchSplit): readonly string[] {
  const below = relative(split.root, root).split(sep).join('/');
  return below === '' ? files : files.map(file => `${below}/${file}`);
}
