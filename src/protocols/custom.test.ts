import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openLabels } from '../evaluate/open-labels.ts';
import { loadProtocol, type ProtocolSplit } from './load.ts';
import type { Protocol } from './protocol.ts';
import { protocolNames, registerProtocol } from './registry.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-custom-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
let count = 0;

function write(description: unknown, files: Readonly<Record<string, string>>): [file: string, folder: string] {
  const root = join(scratch, String(count++));
  for (const [name, text] of Object.entries({ ...files, 'protocol.json': JSON.stringify(description) })) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return [join(root, 'protocol.json'), root];
}

function pairs({ labels }: ProtocolSplit): string[] {
  const truth = openLabels(labels);
  return truth.files.map((_, i) => `${truth.origins(i)} ${truth.classes[truth.labels[i]].name}`).sort();
}

const files = {
  'a/polar_bear/1.jpg': '1',
  'a/n02084071/2.jpg': '2',
  'a/loose.jpg': '',
  'b/3.jpg': '3',
  'b/4.jpg': '4',
};

test('folders and a list; classes as they come', async () => {
  const description = {
    name: 'mine',
    settings: { threshold: 0.6 },
    splits: { train: { folders: 'a' }, test: { list: 'test.csv', images: 'b' } },
  };
  const table = 'file_name,label\n3.jpg,Polar bear\n4.jpg,n02084071\n';
  const data = await loadProtocol(...write(description, { ...files, 'test.csv': table }));
  expect(data).toMatchObject({ name: 'mine', title: 'mine', k: 2, settings: { threshold: 0.6 } });
  expect(pairs(data.splits.train)).toEqual(['n02084071/2.jpg dog', 'polar_bear/1.jpg polar bear']);
  expect(pairs(data.splits.test!)).toEqual(['3.jpg polar bear', '4.jpg dog']);
});

test('described classes, by number, name and label', async () => {
  const classes = ['polar bear', { name: 'Hound', synset: 'n02087551', label: 'dogs' }];
  const description = { name: 'm', classes, splits: { train: { list: 't.jsonl' } } };
  const lines = ['{"file_name":"b/3.jpg","label":1}', '{"file_name":"b/4.jpg","label":"dogs"}'];
  const data = await loadProtocol(...write(description, { ...files, 't.jsonl': `${lines.join('\n')}\n` }));
  expect(pairs(data.splits.train)).toEqual(['b/3.jpg hound', 'b/4.jpg hound']);
});

const train = { list: 't.csv' };
test.each([
  ['an unknown key', { name: 'x', split: {}, splits: { train } }, '', 'PROTOCOL', 'split'],
  ['a name that is a path', { name: '../x', splits: { train } }, '', 'PROTOCOL', 'name: letters, digits'],
  [
    'a path that leads out',
    { name: 'x', splits: { train: { folders: '../..' } } },
    '',
    'DATASET',
    'not below its folder',
  ],
  [
    'a listed path that leads out',
    { name: 'x', splits: { train } },
    '../../etc/passwd,a',
    'DATASET',
    'not below its folder',
  ],
  ['an absolute path', { name: 'x', splits: { train } }, '/etc/passwd,a', 'DATASET', 'not below its folder'],
  [
    'a file that is missing',
    { name: 'x', splits: { train } },
    'b/9.jpg,a',
    'DATASET',
    'names b/9.jpg, which is not in',
  ],
  ['a file twice', { name: 'x', splits: { train } }, 'b/3.jpg,a\nb/3.jpg,b', 'DATASET', 'has b/3.jpg twice'],
  [
    'an unknown class',
    { name: 'x', classes: ['a'], splits: { train } },
    'b/3.jpg,q',
    'DATASET',
    '"q" is none of the classes',
  ],
  [
    'a number that is no class',
    { name: 'x', classes: ['a'], splits: { train } },
    'b/3.jpg,7',
    'DATASET',
    '"7" is none',
  ],
  [
    'the number behind the last class',
    { name: 'x', classes: ['a'], splits: { train } },
    'b/3.jpg,1',
    'DATASET',
    '"1" is',
  ],
  ['no label', { name: 'x', splits: { train } }, 'b/3.jpg,', 'DATASET', 'row 1: no file_name or no label'],
  ['no file', { name: 'x', splits: { train } }, ',a', 'DATASET', 'row 1: no file_name or no label'],
  ['a blank label', { name: 'x', classes: ['a'], splits: { train } }, 'b/3.jpg,""', 'DATASET', '"" is none'],
  ['a blank label, classes as they come', { name: 'x', splits: { train } }, 'b/3.jpg," "', 'DATASET', '"" is none'],
  ['nothing', { name: 'x', splits: { train: { folders: 'b' } } }, '', 'DATASET', 'no classes found'],
])('%s', async (_, description, rows, code, message) => {
  const [file, folder] = write(description, { ...files, 't.csv': `file_name,label\n${rows}\n` });
  await expect(loadProtocol(file, folder)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
});

test('protocols of other parts of the program are found by name; unknown names are not', async () => {
  const drawn: Protocol = {
    name: 'drawn',
    title: 'Drawn',
    source: 'nowhere',
    size: { classes: 2, train: 3 },
    read: async () => ({
      classes: [{ name: 'disc' }, { name: 'ring' }],
      splits: {
        train: {
          source: {
            kind: 'records',
            count: 3,
            archives: [],
            origin: String,
            async *read() {
              for (let index = 0; index < 3; index++)
                yield { index, image: { data: new Uint8Array(12), width: 2, height: 2 } };
            },
          },
          labels: [0, 1, 1],
        },
      },
    }),
  };
  registerProtocol(drawn);
  const data = await loadProtocol('Drawn', scratch);
  expect([data.k, data.splits.train.labels.images, data.splits.test]).toEqual([2, 3, undefined]);
  expect(protocolNames()).toEqual([
    'stanford-dogs',
    'imagenet-100',
    'imagenet-1k',
    'living17',
    'nonliving26',
    'entity13',
    'entity30',
    'caltech-101',
    'cifar-100',
    'oxford-pet',
    'drawn',
  ]);
  await expect(loadProtocol('food-101', scratch)).rejects.toMatchObject({ code: 'PROTOCOL' });
});
