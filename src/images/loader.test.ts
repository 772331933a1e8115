/** The loader: equal batches whatever the threads and the cache, in order, alive through bad images. */
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pattern } from '../../test/images.ts';
import { random } from '../random.ts';
import { fillColor, makeView, normalise, type View } from './augment.ts';
import type { Batch } from './batch.ts';
import { decodeImage } from './decode.ts';
import { createLoader, type Loader, type LoaderOptions } from './loader.ts';

const MEAN = [0.48145466, 0.4578275, 0.40821073] as const;
const STD = [0.26862954, 0.26130258, 0.27577711] as const;
const SIZE = 20;
const VIEWS = ['evaluation', 'weak', 'strong'] as const;
const FILES = Array.from({ length: 11 }, (_, i) => `image ${i}.${i % 2 ? 'png' : 'jpg'}`);
/** Positions of files that cannot be decoded. */
const BAD = [3, 7];

let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 's3a-loader-'));
  for (const [i, name] of FILES.entries()) {
    const { data, width, height } = pattern(30 + 7 * i, 60 - 3 * i);
    await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(root, name));
  }
  await writeFile(join(root, FILES[3]), 'no image');
  await writeFile(join(root, FILES[7]), '');
});
afterAll(() => rm(root, { recursive: true }));

async function using<T>(options: Partial<LoaderOptions>, work: (loader: Loader) => Promise<T>): Promise<T> {
  const loader = createLoader({ root, files: FILES, size: SIZE, mean: MEAN, std: STD, ...options });
  try {
    return await work(loader);
  } finally {
    await loader.dispose();
  }
}

async function collect<V extends View>(batches: AsyncIterable<Batch<V>>): Promise<Batch<V>[]> {
  const all: Batch<V>[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

const request = { batchSize: 4, views: VIEWS, seed: 5, epoch: 2 };

describe('createLoader', () => {
  it('gives what decoding, views and normalisation give, image by image', async () => {
    const batches = await using({}, loader => collect(loader.batches(request)));
    expect(batches.map(({ indices }) => [...indices])).toEqual([
      [0, 1, 2],
      [4, 5, 6],
      [8, 9, 10],
    ]);
    const fill = fillColor(MEAN);
    for (const { indices, views } of batches) {
      for (const [b, index] of indices.entries()) {
        const image = await decodeImage(join(root, FILES[index]));
        for (const view of VIEWS) {
          const made = makeView(image, view, SIZE, random(5, 'augment', view, 2, index), fill);
          const length = 3 * SIZE * SIZE;
          expect(views[view].subarray(b * length, (b + 1) * length)).toEqual(normalise([made], MEAN, STD));
        }
      }
    }
  });

  it('reports bad images and leaves them out', async () => {
    const batches = await using({}, loader => collect(loader.batches(request)));
    const failed = batches.flatMap(batch => batch.failed);
    expect(failed.map(({ index }) => index)).toEqual(BAD);
    expect(failed[0].reason).toMatch(/image 3\.png: not an image file \(it holds text\)$/);
    for (const { indices, views } of batches) {
      for (const view of VIEWS) expect(views[view].length).toBe(indices.length * 3 * SIZE * SIZE);
    }
    const onlyBad = await using({}, loader => collect(loader.batches({ ...request, indices: BAD })));
    expect(onlyBad).toHaveLength(1);
    expect(onlyBad[0].views.weak).toHaveLength(0);
  });

  it('reports a JPEG file that is cut off even below what the view needs', async () => {
    const { data, width, height } = pattern(40, 160);
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer();
    await writeFile(join(root, 'tall.jpg'), bytes);
    await writeFile(join(root, 'cut.jpg'), bytes.subarray(0, -9));
    const [batch] = await using({ files: ['tall.jpg', 'cut.jpg'] }, loader =>
      collect(loader.batches({ ...request, views: ['evaluation'] })),
    );
    expect([...batch.indices]).toEqual([0]);
    expect(batch.failed).toEqual([{ index: 1, reason: expect.stringMatching(/cut\.jpg: truncated or damaged/) }]);
  });

  it('gives the views of a damaged JPEG file that libjpeg reads on over', async () => {
    const { data, width, height } = pattern(60, 60);
    const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
      .jpeg()
      .toBuffer();
    // The last third of the codes is missing, the end of the image is not.
    const damaged = Buffer.concat([bytes.subarray(0, (bytes.length * 2) / 3), bytes.subarray(-2)]);
    await writeFile(join(root, 'damaged.jpg'), damaged);
    const [batch] = await using({ files: ['damaged.jpg'] }, loader =>
      collect(loader.batches({ ...request, views: ['evaluation'] })),
    );
    const { data: pixels, info } = await sharp(damaged, { failOn: 'error' })
      .raw()
      .toBuffer({ resolveWithObject: true });
    const view = makeView({ ...info, data: pixels }, 'evaluation', SIZE, random(0), fillColor(MEAN));
    expect(batch.views.evaluation).toEqual(normalise([view], MEAN, STD));
  });

  it('gives the same with any number of threads, any batch size, any cache', async () => {
    const reference = await using({}, loader => collect(loader.batches(request)));
    for (const workers of [0, 1, 3]) {
      for (const cacheBytes of [0, 12_000, 1e9]) {
        await using({ workers, cacheBytes }, async loader => {
          // The first round fills the cache, the second lives on it.
          expect(await collect(loader.batches(request))).toEqual(reference);
          expect(await collect(loader.batches(request))).toEqual(reference);
        });
      }
    }
    const byOne = await using({ workers: 2 }, loader => collect(loader.batches({ ...request, batchSize: 1 })));
    const flat = (batches: Batch[], view: View): number[] => batches.flatMap(({ views }) => [...views[view]]);
    for (const view of VIEWS) expect(flat(byOne, view)).toEqual(flat(reference, view));
  });

  it('draws anew for every epoch and seed, not for the evaluation view', async () => {
    await using({}, async loader => {
      const first = async (change: object): Promise<Batch> =>
        (await collect(loader.batches({ ...request, indices: [0], ...change })))[0];
      const reference = await first({});
      for (const change of [{ epoch: 3 }, { seed: 6 }]) {
        const other = await first(change);
        expect(other.views.evaluation).toEqual(reference.views.evaluation);
        expect(other.views.strong).not.toEqual(reference.views.strong);
      }
    });
  });

  it('keeps decoded images: with a cache the files are read once', async () => {
    const file = 'once.png';
    await copyFile(join(root, FILES[1]), join(root, file));
    for (const [cacheBytes, failures] of [
      [1e6, 0],
      [0, 1],
    ] as const) {
      await copyFile(join(root, FILES[1]), join(root, file));
      await using({ files: [file], workers: 1, cacheBytes }, async loader => {
        expect((await collect(loader.batches(request)))[0].failed).toEqual([]);
        await writeFile(join(root, file), '');
        expect((await collect(loader.batches(request)))[0].failed).toHaveLength(failures);
      });
    }
  });

  it('keeps no more bytes than it may', async () => {
    const files = ['first.png', 'second.png', 'third.png'];
    for (const file of files) await copyFile(join(root, FILES[1]), join(root, file));
    const { data } = await decodeImage(join(root, FILES[1]));
    await using({ files, workers: 1, cacheBytes: 3 * data.length - 1 }, async loader => {
      await collect(loader.batches({ ...request, batchSize: 1 }));
      for (const file of files) await writeFile(join(root, file), '');
      const again = await collect(loader.batches({ ...request, batchSize: 1 }));
      expect(again.map(({ failed }) => failed.length)).toEqual([0, 0, 1]);
    });
  });

  it('can be left early and used again', async () => {
    await using({ workers: 2 }, async loader => {
      for await (const { indices } of loader.batches({ ...request, batchSize: 1 })) {
        if (indices[0] === 1) break;
      }
      const again = await collect(loader.batches({ ...request, indices: [10, 0, 10] }));
      expect([...again[0].indices]).toEqual([10, 0, 10]);
    });
  });

  it('reads ahead a batch a thread and one more, however long the consumer takes', async () => {
    for (const workers of [0, 1, 3]) {
      const files = Array.from({ length: 12 }, (_, i) => `ahead ${workers} ${i}.png`);
      for (const file of files) await copyFile(join(root, FILES[1]), join(root, file));
      await using({ files, workers }, async loader => {
        const batches = loader.batches({ ...request, batchSize: 1 });
        await batches.next();
        // Long enough for all files, were they read; what was read before they are emptied cannot fail any more.
        await sleep(500);
        for (const file of files) await writeFile(join(root, file), '');
        const rest = await collect(batches);
        const read = rest.filter(({ failed }) => failed.length === 0).length;
        expect(read).toBeGreaterThan(0);
        expect(read).toBeLessThanOrEqual(workers + 1);
      });
    }
  });

  it('leaves the event loop free while threads work', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await using({ workers: 1, size: 224 }, loader => collect(loader.batches({ ...request, batchSize: 8 })));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(10);
  });

  it('refuses nonsense before it allocates, and use after dispose', async () => {
    expect(() => createLoader({ root, files: FILES, size: 0, mean: MEAN, std: STD })).toThrow('size is 0');
    expect(() => createLoader({ root, files: FILES, size: 8, mean: MEAN, std: STD, workers: 1.5 })).toThrow(
      'workers is 1.5',
    );
    for (const workers of [0, 1]) {
      await using({ workers }, async loader => {
        await expect(collect(loader.batches({ ...request, indices: [11] }))).rejects.toThrow('index is 11');
        await expect(collect(loader.batches({ ...request, batchSize: 1e9 }))).rejects.toThrow(
          'batchSize is 1000000000',
        );
        await loader.dispose();
        await expect(collect(loader.batches(request))).rejects.toMatchObject({ code: 'DISPOSED' });
      });
    }
  });

  it('rejects the batches under way when disposed', async () => {
    const loader = createLoader({ root, files: FILES, size: SIZE, mean: MEAN, std: STD, workers: 1 });
    const batches = loader.batches(request);
    const first = expect(batches.next()).rejects.toMatchObject({ code: 'DISPOSED' });
    await loader.dispose();
    await first;
  });

  it('reports an unreadable file as any other failure', async () => {
    await writeFile(join(root, 'gone.png'), '');
    await chmod(join(root, 'gone.png'), 0);
    const [batch] = await using({ files: [FILES[0], 'gone.png', 'absent.png'] }, loader =>
      collect(loader.batches(request)),
    );
    expect(batch.failed.map(({ index }) => index)).toEqual([1, 2]);
    expect(batch.failed[1].reason).toMatch(/no such file/);
  });
});
