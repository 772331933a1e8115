import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, describe, expect, test } from 'vitest';
import { openLabels } from '../evaluate/open-labels.ts';
import { decodeImage } from '../images/decode.ts';
import { listImages } from '../images/source.ts';
import { readBreeds } from './breeds-hierarchy.ts';
import { imagenetIds } from './imagenet-files.ts';
import { legacyRandom } from './legacy-random.ts';
import { loadProtocol, type ProtocolSplit } from './load.ts';
import { readMat } from './mat-file.ts';
import { imagenet100Ids } from './sets/imagenet.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/protocols', import.meta.url));
const expected = JSON.parse(readFileSync(join(goldens, 'expected.json'), 'utf8'));
const scratch = mkdtempSync(join(tmpdir(), 's3a-protocols-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let folders = 0;

/** A data folder with files; a path that begins with `golden:` is copied from the goldens. */
function dataFolder(files: Readonly<Record<string, string>>): string {
  const root = join(scratch, String(folders++));
  mkdirSync(root);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    if (text.startsWith('golden:')) cpSync(join(goldens, text.slice(7)), join(root, file), { recursive: true });
    else writeFileSync(join(root, file), text);
  }
  return root;
}

const images = (...files: string[]): Record<string, string> => Object.fromEntries(files.map(file => [file, file]));

/** What the owners call the images, with the names of their classes; sorted. */
function pairs(split: ProtocolSplit | undefined): string[] {
  const { files, labels, classes, origins } = openLabels(split!.labels);
  return files.map((_, i) => `${origins(i)} ${classes[labels[i]].name}`).sort();
}

const partial = { partial: true };

describe("NumPy's old generator", () => {
  test.each(expected.permutations as [number, number, number[]][])(
    'permutation(seed %i, n %i)',
    (seed: number, n: number, order: number[]) => {
      expect([...legacyRandom(seed).permutation(n)]).toEqual(order);
    },
  );

  test('several draws in a row', () => {
    const rng = legacyRandom(2);
    expect([9, 40, 3, 17].map(n => [...rng.permutation(n).subarray(0, 3)])).toEqual(expected.in_a_row);
  });

  test('the 100 classes of ImageNet', () => {
    const ids = imagenetIds();
    expect(ids).toHaveLength(1000);
    expect([ids[0], ids[134], ids[517], ids[999]]).toEqual(['n01440764', 'n02012849', 'n03126707', 'n15075141']);
    expect(imagenet100Ids()).toEqual(expected.imagenet_100.map((i: number) => ids[i]).sort());
  });
});

describe('StanfordDogs', () => {
  const breeds = ['n02085620-Chihuahua', 'n02085936-Maltese_dog', 'n02113978-Mexican_hairless'];
  const photos = breeds.flatMap(breed =>
    [2, 3, 7, 10, 21, 99].map(n => `Images/${breed}/${breed.split('-')[0]}_${n}.jpg`),
  );
  const lists = {
    'train_list.mat': 'golden:stanford-dogs/train_list.mat',
    'test_list.mat': 'golden:stanford-dogs/test_list.mat',
  };

  test('the lists say which images are used', async () => {
    const data = await loadProtocol('StanfordDogs', dataFolder({ ...images(...photos), ...lists }), partial);
    expect(data).toMatchObject({ name: 'stanford-dogs', k: 3, outOfVocabulary: false, settings: {} });
    expect([data.splits.train.images.count, data.splits.test?.images.count]).toEqual([9, 6]);
    expect(pairs(data.splits.test)).toEqual(
      [2, 21]
        .flatMap(n => [
          `n02085620-Chihuahua/n02085620_${n}.jpg chihuahua`,
          `n02085936-Maltese_dog/n02085936_${n}.jpg maltese dog`,
          `n02113978-Mexican_hairless/n02113978_${n}.jpg mexican hairless`,
        ])
        .sort(),
    );
    expect(openLabels(data.splits.train.labels).classes[2]).toEqual({ name: 'mexican hairless', synset: 'n02113978' });
  });

  test('half unpacked: one line with what is missing', async () => {
    const folder = dataFolder({ ...images(...photos.slice(1)), ...lists });
    await expect(loadProtocol('stanford-dogs', folder)).rejects.toThrow(
      'is not whole: it has 120 classes, 3 were found',
    );
  });

  test('not unpacked, and not there', async () => {
    await expect(loadProtocol('stanford-dogs', dataFolder({ 'images.tar': '', ...lists }))).rejects.toMatchObject({
      message: expect.stringContaining('there is no Images, images/Images or StanfordDogs/Images'),
      hint: expect.stringContaining('Unpack images.tar there first'),
    });
    await expect(loadProtocol('stanford-dogs', dataFolder(images('Images/a.jpg')))).rejects.toMatchObject({
      message: expect.stringContaining('train_list.mat'),
      hint: expect.stringContaining('http://vision.stanford.edu'),
    });
    await expect(loadProtocol('stanford-dogs', join(scratch, 'nowhere'))).rejects.toThrow(
      'cannot read the data folder',
    );
  });
});

describe('ImageNet', () => {
  const train = images(
    'train/n01440764/n01440764_1.JPEG',
    'train/n01440764/n01440764_2.JPEG',
    'train/n02012849/n02012849_5.JPEG',
    'train/n03126707/n03126707_7.JPEG',
    'train/n02119789/n02119789_1.JPEG',
  );
  const flat = images(...[1, 2, 3, 4].map(n => `val/ILSVRC2012_val_0000000${n}.JPEG`));
  const labelled = [
    'ILSVRC2012_val_00000001.JPEG crane',
    'ILSVRC2012_val_00000002.JPEG kit fox',
    'ILSVRC2012_val_00000003.JPEG tench',
    'ILSVRC2012_val_00000004.JPEG kit fox',
  ];

  test("the devkit's numbers are not the order of the ids, and its high-level synsets are no classes", async () => {
    const folder = dataFolder({ ...train, ...flat, 'ILSVRC2012_devkit_t12/data': 'golden:devkit' });
    const data = await loadProtocol('ImageNet-1K', folder, partial);
    expect(pairs(data.splits.test)).toEqual(labelled);
    // Two synsets are a crane: one name for the method, and for K.
    expect(data.k).toBe(3);
    expect(pairs(data.splits.train).slice(-2)).toEqual([
      'n02119789/n02119789_1.JPEG kit fox',
      'n03126707/n03126707_7.JPEG crane',
    ]);
  });

  test("Kaggle's folders and table", async () => {
    const moved = Object.fromEntries(
      Object.entries({ ...train, ...flat }).map(([file, text]) => [`ILSVRC/Data/CLS-LOC/${file}`, text]),
    );
    const ids = ['n02012849', 'n02119789', 'n01440764', 'n02119789'];
    const table = ids.map((id, i) => `ILSVRC2012_val_0000000${i + 1},${id} 85 1 499 272 ${id} 1 1 2 2 `);
    const csv = ['ImageId,PredictionString', ...table, ''].join('\n');
    const data = await loadProtocol('imagenet-1k', dataFolder({ ...moved, 'LOC_val_solution.csv': csv }), partial);
    expect(pairs(data.splits.test)).toEqual(labelled);
  });

  test('validation images in folders; a subset of the classes', async () => {
    const [first, second] = imagenet100Ids();
    const folder = dataFolder(
      images(`train/${first}/a.JPEG`, `train/${second}/b.JPEG`, 'train/n01440764/c.JPEG', `val/${second}/d.JPEG`),
    );
    const data = await loadProtocol('imagenet-100', folder, partial);
    expect([data.splits.train.images.count, data.splits.test?.images.count, data.k]).toEqual([2, 1, 2]);
    await expect(loadProtocol('imagenet-100', folder)).rejects.toThrow(
      `5000 test images, 1 were found, but not ${first}`,
    );
  });

  test("the hub's parquet numbers the classes in the order of their ids", async () => {
    const write = (file: string, labels: number[]): void => {
      const image = labels.map(label => Uint8Array.of(label & 255));
      const columnData = [
        { name: 'image', data: image, type: 'BYTE_ARRAY' as const },
        { name: 'label', data: labels, type: 'INT32' as const },
      ];
      writeFileSync(join(folder, file), new Uint8Array(parquetWriteBuffer({ columnData })));
    };
    const folder = dataFolder({ 'data/README': '' });
    write('data/train-00000-of-00001.parquet', [999, 0]);
    write('data/validation-00000-of-00001.parquet', [1, 0, 999]);
    const all = await loadProtocol('imagenet-1k', folder, partial);
    const [train, test] = ['train', 'validation'].map(name => `${name}-00000-of-00001.parquet`);
    expect(pairs(all.splits.train)).toEqual([`${train}:0 toilet tissue`, `${train}:1 tench`]);
    expect(pairs(all.splits.test)).toEqual([`${test}:0 goldfish`, `${test}:1 tench`, `${test}:2 toilet tissue`]);
    const drawn = imagenetIds().indexOf(imagenet100Ids()[3]);
    write('data/train-00000-of-00001.parquet', [drawn, 0]);
    write('data/validation-00000-of-00001.parquet', [drawn, 0, drawn]);
    const some = await loadProtocol('imagenet-100', folder, partial);
    expect([some.splits.train.images.count, some.splits.test?.images.count, some.k]).toEqual([1, 2, 1]);
  });

  test('tars within the tar that are not unpacked, and labels that are missing', async () => {
    const packed = dataFolder({ ...images('train/n01440764.tar'), ...flat });
    await expect(loadProtocol('imagenet-1k', packed)).rejects.toThrow(
      'no ILSVRC2012_devkit_t12/data/ILSVRC2012_validation',
    );
    const withKit = dataFolder({ ...images('train/n01440764.tar'), ...flat, data: 'golden:devkit' });
    await expect(loadProtocol('imagenet-1k', withKit)).rejects.toThrow(
      'n01440764.tar and others that are not unpacked',
    );
    await expect(loadProtocol('imagenet-1k', dataFolder(images('ILSVRC2012_img_train.tar')))).rejects.toMatchObject({
      hint: expect.stringContaining('Unpack ILSVRC2012_img_train.tar'),
    });
  });
});

describe('BREEDS', () => {
  test.each(expected.breeds as { level: number; perNode: number; ancestor: string | null; groups: unknown }[])(
    'a cut as the owners make it: level $level, $perNode each, below $ancestor',
    async ({ ancestor, groups, ...cut }) => {
      const found = await readBreeds(goldens, { ...cut, ...(ancestor && { ancestor }) });
      expect(found.groups).toEqual(groups);
    },
  );

  const real = process.env.S3A_BREEDS;
  test.skipIf(!real)("the owners' own hierarchy: S3A_BREEDS names the folder of their repository", async () => {
    const sizes = [];
    for (const cut of [
      { level: 5, ancestor: 'n00004258', perNode: 4 },
      { level: 5, ancestor: 'n00021939', perNode: 4 },
      { level: 3, perNode: 20 },
      { level: 4, perNode: 8 },
    ]) {
      sizes.push((await readBreeds(real!, cut)).groups.flatMap(({ leaves }) => leaves).length);
    }
    expect(sizes).toEqual([68, 104, 260, 240]);
  });

  test('files that are missing, or a web page', async () => {
    await expect(loadProtocol('living17', dataFolder({}))).rejects.toMatchObject({
      message: expect.stringContaining('imagenet_class_hierarchy/modified/class_hierarchy.txt'),
      hint: expect.stringContaining('https://github.com/MadryLab/BREEDS-Benchmarks'),
    });
    const folder = dataFolder({
      'modified/class_hierarchy.txt': '<!DOCTYPE html><html>',
      'modified/dataset_class_info.json': '[[0, "n01440764", "tench"]]',
    });
    await expect(loadProtocol('living17', folder)).rejects.toThrow('is a web page, not the file itself');
  });
});

describe('CIFAR-100', () => {
  const kinds = ['cifar-100-python', 'cifar-100-binary', 'cifar100'];

  test.each(kinds)('%s: fine labels and every pixel', async kind => {
    const folder = dataFolder({ [kind]: `golden:cifar/${kind}` });
    const { splits, k, outOfVocabulary, settings } = await loadProtocol('cifar-100', folder, partial);
    expect({ k, outOfVocabulary, settings }).toEqual({
      k: 3,
      outOfVocabulary: true,
      settings: { threshold: 0.3, emaSteps: 500 },
    });
    for (const name of ['train', 'test'] as const) {
      const split = splits[name]!;
      const { classes, labels, origins, files } = openLabels(split.labels);
      expect(classes.map(({ name: own }) => own)).toEqual(['apple', 'aquarium fish', 'baby']);
      const root = await split.images.materialise();
      const listed = await listImages(root);
      expect(listed.files).toEqual(split.images.files);
      for (const [i, file] of files.entries()) {
        const index = Number(origins(i).split(':').at(-1));
        expect(labels[i]).toBe(expected[`cifar_${name}`].labels[index]);
        const { data, width, height } = await decodeImage(join(root, file));
        expect([width, height]).toEqual([32, 32]);
        const corners = [0, 31].flatMap(y => [0, 31].flatMap(x => [0, 1, 2].map(c => data[(y * 32 + x) * 3 + c])));
        expect(corners).toEqual(expected[`cifar_${name}`].pixels[index]);
      }
    }
  });

  test('a file that breaks off', async () => {
    const folder = dataFolder({ 'cifar-100-binary': 'golden:cifar/cifar-100-binary' });
    const path = join(folder, 'cifar-100-binary/train.bin');
    writeFileSync(path, readFileSync(path).subarray(0, 5000));
    await expect(loadProtocol('cifar-100', folder)).rejects.toThrow('5000 bytes, which are no records of 3074');
    const pickled = dataFolder({ 'cifar-100-python': 'golden:cifar/cifar-100-python' });
    const train = join(pickled, 'cifar-100-python/train');
    writeFileSync(train, readFileSync(train).subarray(0, 5000));
    await expect(loadProtocol('cifar-100', pickled)).rejects.toThrow('damaged pickle');
  });

  test('a part of a series of parquet files', async () => {
    const golden = 'golden:cifar/cifar100/train-00000-of-00001.parquet';
    const folder = dataFolder({ 'data/train-00000-of-00002.parquet': golden });
    await expect(loadProtocol('cifar-100', folder)).rejects.toThrow('has 1 of 2 parquet files of the split train');
  });
});

test('Caltech101: clutter and yin_yang are left out, four fifths of each class are for training', async () => {
  const classes = { BACKGROUND_Google: 5, yin_yang: 5, Faces: 11, accordion: 9, Leopards: 10 };
  const files = Object.entries(classes).flatMap(([name, count]) =>
    Array.from(
      { length: count },
      (_, i) => `caltech-101/101_ObjectCategories/${name}/image_${String(i + 1).padStart(4, '0')}.jpg`,
    ),
  );
  const data = await loadProtocol('caltech101', dataFolder(images(...files)), partial);
  expect([data.splits.train.images.count, data.splits.test?.images.count, data.k]).toEqual([7 + 8 + 8, 2 + 3 + 2, 3]);
  const rng = legacyRandom(0);
  const [accordion] = [9].map(n =>
    [...rng.permutation(n).subarray(0, 7)].map(i => `accordion/image_000${i + 1}.jpg accordion`).sort(),
  );
  expect(pairs(data.splits.train).filter(pair => pair.startsWith('accordion'))).toEqual(accordion);
  await expect(loadProtocol('caltech101', dataFolder(images(...files)))).rejects.toThrow(
    'it has 100 classes, 3 were found',
  );
});

test('Oxford-IIIT Pet: breeds by their numbers, names with several parts, comments', async () => {
  const folder = dataFolder({
    ...images(
      ...['Abyssinian_1.jpg', 'american_bulldog_10.jpg', 'Abyssinian_2.jpg', 'Abyssinian_2.mat'].map(
        f => `images/${f}`,
      ),
    ),
    'annotations/trainval.txt': '#Image CLASS-ID SPECIES BREED ID\nAbyssinian_1 1 1 1\namerican_bulldog_10 2 2 1\n',
    'annotations/test.txt': 'Abyssinian_2 1 1 1\n',
  });
  const { splits, settings } = await loadProtocol('oxford-pet', folder, partial);
  expect(pairs(splits.train)).toEqual(['Abyssinian_1.jpg abyssinian', 'american_bulldog_10.jpg american bulldog']);
  expect(pairs(splits.test)).toEqual(['Abyssinian_2.jpg abyssinian']);
  expect(settings).toEqual({ threshold: 0.7, emaStart: 0.99, emaSteps: 100 });
  writeFileSync(join(folder, 'annotations/test.txt'), '../../../etc/passwd_1 1 1 1\n');
  await expect(loadProtocol('oxford-pet', folder, partial)).rejects.toThrow('is no image with its class');
  writeFileSync(join(folder, 'annotations/test.txt'), '../../etc/x_1 3 1 1\n');
  await expect(loadProtocol('oxford-pet', folder, partial)).rejects.toThrow('which is not below its folder');
});

describe('.mat files that are damaged', () => {
  const path = join(goldens, 'stanford-dogs/test_list.mat');
  const whole = readFileSync(path);

  test('every byte that is changed gives values or one clear error', async () => {
    const file = join(scratch, 'damaged.mat');
    let refused = 0;
    for (let i = 0; i < whole.length; i += 3) {
      const bytes = Buffer.from(whole);
      bytes[i] ^= 0xff;
      writeFileSync(file, bytes);
      await readMat(file, ['file_list', 'labels']).catch((error: unknown) => {
        refused++;
        expect(error).toMatchObject({ name: 'S3aError', code: 'DATASET' });
      });
    }
    expect(refused).toBeGreaterThan(20);
  });

  test('zeros that inflate to more than is read', async () => {
    const data = Buffer.alloc(20_000_000);
    // An array of one number with 20 million of them behind it.
    const words = [14, data.length - 8, 6, 8, 9, 0, 5, 8, 1, 1, 1 | (1 << 16), 0x78, 2, data.length - 64];
    for (const [i, word] of words.entries()) data.writeUInt32LE(word, i * 4);
    const packed = deflateSync(data);
    const tag = Buffer.alloc(8);
    tag.writeUInt32LE(15);
    tag.writeUInt32LE(packed.length, 4);
    const file = join(scratch, 'bomb.mat');
    writeFileSync(file, Buffer.concat([whole.subarray(0, 128), tag, packed]));
    await expect(readMat(file, ['x'])).rejects.toThrow('more than 5000000 values');
  });

  test('breaks off, another version, another variable', async () => {
    const file = join(scratch, 'short.mat');
    writeFileSync(file, whole.subarray(0, 700));
    await expect(readMat(file, ['labels'])).rejects.toThrow('it breaks off');
    await expect(readMat(path, ['nothing'])).rejects.toThrow('it has no variable nothing');
    writeFileSync(file, Buffer.alloc(512, 'x'));
    await expect(readMat(file, ['labels'])).rejects.toThrow('no header of level 5');
  });
});
