/** Caltech101: a folder a class in `101_ObjectCategories/`, with the split that METHOD's figures were taken on. */
import { foldersIn, need } from '../data-folder.ts';
import { legacyRandom } from '../legacy-random.ts';
import { classOfName, type Listed, splitOfFolders, splitOfList } from '../listed.ts';
import type { Protocol, RawProtocol } from '../protocol.ts';

const wanted = {
  title: 'Caltech101',
  source: 'https://data.caltech.edu/records/mzrjq-6wc02 (caltech-101.zip, and 101_ObjectCategories.tar.gz in it)',
};

/** Clutter that is no class, and a symbol that the reference leaves out. */
const LEFT_OUT = new Set(['background_google', 'yin_yang']);
const TRAIN_SHARE = 0.8;

export const caltech101: Protocol = {
  ...wanted,
  name: 'caltech-101',
  size: { classes: 100 },
  outOfVocabulary: true,
  async read(folder): Promise<RawProtocol> {
    const name = '101_ObjectCategories';
    const root = await need(folder, [name, `caltech-101/${name}`, `caltech101/${name}`], wanted);
    const folders = (await foldersIn(root)).filter(folder => !LEFT_OUT.has(folder.toLowerCase()));
    // The owners give no split. The reference draws one, class after class by their names in lower case, where capitals sort along.
    folders.sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    const { source, labels } = await splitOfFolders(root, folders);
    const files = source.kind === 'files' ? source.files : [];
    const rng = legacyRandom(0);
    const splits: { train: Listed[]; test: Listed[] } = { train: [], test: [] };
    for (const label of folders.keys()) {
      const own = files.filter((_, i) => labels[i] === label);
      const drawn = new Set(rng.permutation(own.length).subarray(0, Math.trunc(TRAIN_SHARE * own.length)));
      for (const [i, file] of own.entries()) splits[drawn.has(i) ? 'train' : 'test'].push({ file, label });
    }
    return {
      classes: folders.map(classOfName),
      splits: { train: await splitOfList(root, splits.train), test: await splitOfList(root, splits.test) },
    };
  },
};
