/** Steps on rows of a file give what they give on the matrix in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { features, phraseDirections, prototypes, roundsRecord, WIDTH } from '../../test/discover-goldens.ts';
import { float16ToFloat32, float32ToFloat16 } from '../io/float16.ts';
import { writeNpy } from '../io/npy.ts';
import { cluster } from './cluster.ts';
import { openRows } from './npy-rows.ts';
import { realign } from './realign.ts';
import { gatherRows, takeRows } from './row-pass.ts';
import { vote } from './vote.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-rows-'));
});
afterAll(() => rm(folder, { recursive: true }));

test.each(['<f4', '<f2'] as const)('cluster, vote and realign on a file of %s', async dtype => {
  const path = join(folder, `features-${dtype.slice(1)}.npy`);
  const whole = dtype === '<f4' ? features[0] : float16ToFloat32(float32ToFloat16(features[0]));
  await writeNpy(path, dtype, [whole.length / WIDTH, WIDTH], whole);
  const rows = await openRows(path);
  expect([rows.count, rows.width]).toEqual([whole.length / WIDTH, WIDTH]);
  expect(await gatherRows(rows, [7, 0, 7, 299])).toEqual(takeRows(whole, WIDTH, [7, 0, 7, 299]));

  const options = { k: 12, width: WIDTH, nInit: 2, seed: 1 };
  const clusters = await cluster(rows, options);
  expect(clusters).toEqual(await cluster(whole, options));

  const voted = await vote(rows, prototypes, clusters.labels, { width: WIDTH });
  expect(voted).toEqual(await vote(whole, prototypes, clusters.labels, { width: WIDTH }));

  const candidates = voted.counted.votes.map(({ names }) =>
    [...names.subarray(0, 2)].map(index => ({ index, name: `name ${index}`, phrases: [{ phrase: 'it', weight: 1 }] })),
  );
  const encodeTexts = (texts: string[]): Promise<Float32Array> =>
    Promise.resolve(
      Float32Array.from(
        texts.flatMap(text => [
          ...phraseDirections.subarray((text.length % 7) * WIDTH, ((text.length % 7) + 1) * WIDTH),
        ]),
      ),
    );
  const asked = { width: WIDTH, formats: roundsRecord.templates, encodeTexts };
  expect(await realign(rows, prototypes, voted.counted, candidates, asked)).toEqual(
    await realign(whole, prototypes, voted.counted, candidates, asked),
  );
  await rows.close();
});

test('a file of something else is refused', async () => {
  const path = join(folder, 'labels.npy');
  await writeNpy(path, '<i4', [3], Int32Array.of(1, 2, 3));
  await expect(openRows(path)).rejects.toThrow('labels.npy holds <i4 of shape (3)');
});
