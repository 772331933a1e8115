/** CIFAR-100 on its fine classes: the owners' Python or binary version, or parquet from the hub. */
import { join } from 'node:path';
import { S3aError } from '../../errors.ts';
import { readBinary, readBinaryNames, readPython, readPythonNames } from '../cifar-files.ts';
import { absent, exists, firstOf, need } from '../data-folder.ts';
import { classOfName } from '../listed.ts';
import { isParquet, parquetFiles, parquetSplit } from '../parquet-images.ts';
import type { Protocol, RawProtocol, RawSplit } from '../protocol.ts';

const wanted = {
  title: 'CIFAR-100',
  source: 'https://www.cs.toronto.edu/~kriz/cifar.html (cifar-100-python.tar.gz or cifar-100-binary.tar.gz)',
};

export const cifar100: Protocol = {
  ...wanted,
  name: 'cifar-100',
  size: { classes: 100, train: 50_000, test: 10_000 },
  outOfVocabulary: true,
  settings: { threshold: 0.3, emaSteps: 500 },
  async read(folder): Promise<RawProtocol> {
    const python = await firstOf(folder, ['cifar-100-python', ...((await exists(join(folder, 'meta'))) ? ['.'] : [])]);
    if (python !== undefined) {
      const file = (name: string): Promise<string> => need(python, [name], wanted);
      await file('meta');
      return protocolOf(
        await readPythonNames(python),
        await readPython(await file('train')),
        await readPython(await file('test')),
      );
    }
    const isBinary = await exists(join(folder, 'fine_label_names.txt'));
    const binary = await firstOf(folder, ['cifar-100-binary', ...(isBinary ? ['.'] : [])]);
    if (binary !== undefined) {
      const file = (name: string): Promise<string> => need(binary, [name], wanted);
      await file('fine_label_names.txt');
      return protocolOf(
        await readBinaryNames(binary),
        await readBinary(await file('train.bin')),
        await readBinary(await file('test.bin')),
      );
    }
    if (await isParquet(folder, 'train')) {
      const [train, test] = [await hubSplit(folder, 'train'), await hubSplit(folder, 'test')];
      return protocolOf(train.names ?? [], train.split, test.split);
    }
    return absent(folder, ['cifar-100-python', 'cifar-100-binary', 'train-00000-of-00001.parquet'], wanted);
  },
};

async function hubSplit(folder: string, name: string): Promise<{ split: RawSplit; names?: readonly string[] }> {
  return parquetSplit(await parquetFiles(folder, name), {
    wanted,
    image: ['img', 'image'],
    label: ['fine_label', 'label'],
    labelOf: label => Number(label),
  });
}

function protocolOf(names: readonly string[], train: RawSplit, test: RawSplit): RawProtocol {
  if (names.length === 0) throw new S3aError('DATASET', 'CIFAR-100: its files do not name the classes', wanted.source);
  return { classes: names.map(classOfName), splits: { train, test } };
}
