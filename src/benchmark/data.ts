/** The data of a seed: images under neutral names, embedded once, and the labels that stay sealed. */
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import type { SealedLabels } from '../evaluate/sealed-labels.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { hashJson } from '../io/hash.ts';
import type { ProtocolData, ProtocolSplit } from '../protocols/load.ts';
import { type Embedded, embed } from '../run/embed.ts';
import type { RunHooks } from '../run/events.ts';
import type { Run } from '../run/store.ts';
import { openShared } from './shared-run.ts';

/** A split with its images on disk. */
export interface BenchSplit {
  /** The folder that neutral names are relative to. */
  root: string;
  /** What a run is given: the folder, or a list of some of its images. */
  images: string;
  labels: SealedLabels;
  /** The run folder in which they are embedded, and where runs of theirs are kept. */
  folder: string;
}

/** Images embedded by the model as it is. */
export interface EmbeddedSplit {
  embedded: Embedded;
  /** Hash of the images and the model. */
  key: string;
  /** Hashes of the model and of the list of images with their contents. */
  hashes: { model: string; images: string };
  dispose(): Promise<void>;
}

/** Puts the images of a split in their place. */
export async function openSplit(
  { images, labels }: ProtocolSplit,
  { out, cache, hooks }: { out: string; cache?: string; hooks: RunHooks },
): Promise<BenchSplit> {
  const root = await images.materialise({
    ...(cache !== undefined && { cache }),
    signal: hooks.signal,
    onProgress: (done, total) => hooks.onEvent?.({ type: 'progress', stage: 'scan', done, total }),
  });
  return { root, images: root, labels, folder: folderOf(out, root) };
}

/** A share of a split's images: the first of them, as their order is random and says nothing about classes. */
export async function partOf(split: BenchSplit, data: ProtocolData, share: number, out: string): Promise<BenchSplit> {
  const { files } = data.splits.train.images;
  const kept = files.slice(0, Math.max(1, Math.round(share * files.length)));
  const list = join(out, 'lists', `${hashJson([split.root, kept.length]).slice(0, 16)}.txt`);
  await writeAtomic(list, `${kept.map(file => join(split.root, file)).join('\n')}\n`);
  return { ...split, images: list, folder: folderOf(out, list) };
}

function folderOf(out: string, images: string): string {
  return join(out, 'shared', hashJson(images).slice(0, 16));
}

/** The features of a split, computed when nobody has before. They are read where they lie, until they are disposed of. */
export async function embedSplit(split: BenchSplit, config: Config, hooks: RunHooks): Promise<EmbeddedSplit> {
  let run = await openImages(split, config, hooks);
  try {
    await embed(run);
    if (!run.outcomes.embed?.skipped) {
      // A model that has done its work need not stay in memory.
      await run.dispose();
      run = await openImages(split, config, hooks);
    }
    const embedded = await embed(run);
    const hashes = { model: await run.modelHash(), images: String(run.manifest.stages.scan.info.sha256) };
    return { embedded, key: run.keyOf('embed'), hashes, dispose: () => run.dispose() };
  } catch (error) {
    await run.dispose();
    throw error;
  }
}

/** The run in which the images of a split are embedded. */
export function openImages(split: BenchSplit, config: Config, hooks: RunHooks): Promise<Run> {
  return openShared(imagesFolder(split), { ...config, images: [split.images] }, [], hooks);
}

/** Where the embedded images of a split are. */
export function imagesFolder({ folder }: BenchSplit): string {
  return join(folder, 'images');
}
