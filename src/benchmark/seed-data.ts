/** The data of each seed in turn: one data set on the disk for all, or one that is drawn anew. */
import type { Config } from '../config/schema.ts';
import type { ProtocolData } from '../protocols/load.ts';
import type { RunHooks } from '../run/events.ts';
import { type BenchSplit, type EmbeddedSplit, embedSplit, openSplit } from './data.ts';

/** Everything that is the same for the cells of a seed. */
export interface SeedData {
  data: ProtocolData;
  train: BenchSplit;
  test: { split: BenchSplit; embedded: EmbeddedSplit } | undefined;
  /** A split of these or a part of one, embedded once. */
  embedded(split: BenchSplit): Promise<EmbeddedSplit>;
}

export interface SeedDataOptions {
  /** Of the first seed. */
  first: ProtocolData;
  seeds: readonly number[];
  load: (seed: number) => Promise<ProtocolData>;
  out: string;
  /** Where drawn images are kept; default s3a's cache folder. */
  cache: string | undefined;
  base: Config;
  hooks: RunHooks;
}

export interface SeedSource {
  /** The data of a seed; those of the seed before are given back when they are others. */
  at(seed: number): Promise<SeedData>;
  dispose(): Promise<void>;
}

/** Gives the data of one seed after the other; splits that seeds share are embedded once. */
export function openSeeds({ first, seeds, load, out, cache, base, hooks }: SeedDataOptions): SeedSource {
  const known = new Map<string, EmbeddedSplit>();
  let current: { seed: number; data: SeedData } | undefined;
  const dispose = async (): Promise<void> => {
    current = undefined;
    for (const split of known.values()) await split.dispose();
    known.clear();
  };
  const embedded = async (split: BenchSplit): Promise<EmbeddedSplit> => {
    const found = known.get(split.images) ?? (await embedSplit(split, base, hooks));
    known.set(split.images, found);
    return found;
  };
  return {
    async at(seed) {
      if (current && (current.seed === seed || !first.drawn)) return current.data;
      await dispose();
      const data = seed === seeds[0] ? first : await load(seed);
      const place = { out, cache: first.drawn ? cache : undefined, hooks };
      const unseen = data.splits.test && (await openSplit(data.splits.test, place));
      const train = await openSplit(data.splits.train, place);
      const test = unseen && { split: unseen, embedded: await embedded(unseen) };
      current = { seed, data: { data, train, test, embedded } };
      return current.data;
    },
    dispose,
  };
}
