/** The best names of every image in order, from what a run has kept of its features. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { nearestNames } from '../discover/nearest.ts';
import { takeRows } from '../discover/row-pass.ts';
import { readJson } from '../io/json.ts';
import { readNpyFloat32 } from '../io/npy.ts';
import { normalizeName } from '../vocab/vocabulary.ts';

/** Where the features lie that a step chose its names by. */
const FEATURES: Readonly<Record<string, string>> = {
  zero_shot: 'embeddings/images.npy',
  student: 'embeddings/student.npy',
  teacher: 'embeddings/teacher.npy',
};
const MOST_NAMES = 10;

export type Ranker = (
  stage: string,
  first: readonly string[] | undefined,
  among?: readonly string[],
) => Promise<string[][] | undefined>;

/** Each kept image's best names by the features of a step, among all names or some; undefined where there are none. */
export async function createRanker(
  folder: string,
  kept: readonly number[],
  { threads, device }: Config,
): Promise<Ranker> {
  const [tablePath, namesPath] = [join(folder, 'embeddings/prototypes.npy'), join(folder, 'embeddings/names.json')];
  if (!existsSync(tablePath) || !existsSync(namesPath)) return async () => undefined;
  const { shape, data } = await readNpyFloat32(tablePath);
  const [, width] = shape;
  const all = (await readJson(namesPath)) as string[];
  return async (stage, first, among = all) => {
    const path = join(folder, FEATURES[stage] ?? 'none');
    if (!existsSync(path)) return undefined;
    const features = takeRows((await readNpyFloat32(path)).data, width, Int32Array.from(kept));
    const rows =
      among === all
        ? data
        : takeRows(
            data,
            width,
            Int32Array.from(among, name => all.indexOf(name)),
          );
    const { top, indices } = await nearestNames(features, rows, { width, top: MOST_NAMES, threads, device });
    const ranked = kept.map((_, i) => Array.from(indices.subarray(i * top, (i + 1) * top), column => among[column]));
    // Features of another time than the labels say nothing about them.
    if (first?.some((name, i) => normalizeName(name) !== ranked[i][0])) return undefined;
    return ranked;
  };
}
