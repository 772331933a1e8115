/** Protocols by name or file: the data a benchmark runs on, with true labels under seal. */
import { stat } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { S3aError, whyOf } from '../errors.ts';
import { type SealedLabels, sealLabels, type TrueClass } from '../evaluate/sealed-labels.ts';
import { type Concept, normalizeName } from '../vocab/vocabulary.ts';
import { readCustomProtocol } from './custom.ts';
import { countOf, MAX_IMAGES, originOf } from './image-source.ts';
import { type NeutralImages, neutralImages } from './neutral-images.ts';
import type { Protocol, ProtocolSettings, RawProtocol, RawSplit, SplitName } from './protocol.ts';
import { findProtocol } from './registry.ts';

/** One split: what the stages may see, and apart from it what only the evaluator opens. */
export interface ProtocolSplit {
  images: NeutralImages;
  labels: SealedLabels;
}

/** A data set, ready to be run on. */
export interface ProtocolData {
  name: string;
  title: string;
  /** Number of distinct names of classes that have images in the training split: the K of the reference (METHOD §2). */
  k: number;
  outOfVocabulary: boolean;
  /** Its images are drawn, other ones for each seed. */
  drawn: boolean;
  /** Names to choose from where the set has its own. */
  vocab?: string | readonly Concept[];
  /** What METHOD §3 sets otherwise for this data set; not K. */
  settings: ProtocolSettings;
  /** `train` gives the transductive figures, `test` the inductive ones. */
  splits: { train: ProtocolSplit; test?: ProtocolSplit };
}

export interface LoadOptions {
  /** Take what is there of a data set that is not whole; without it that is an error. */
  partial?: boolean;
  /** Of images that are drawn; default 0. */
  seed?: number;
}

/**
 * Reads the lists of a data set in `dataFolder`, as its owners distribute it; no image is opened yet.
 * @param nameOrFile a name such as `stanford-dogs`, or a .json file that describes a data set of one's own
 * @param dataFolder not needed for images that are drawn
 * @throws S3aError PROTOCOL for an unknown name or a wrong description, DATASET for what is missing or wrong in the folder
 */
export async function loadProtocol(
  nameOrFile: string,
  dataFolder: string | undefined,
  { partial = false, seed = 0 }: LoadOptions = {},
): Promise<ProtocolData> {
  const isFile = extname(nameOrFile).toLowerCase() === '.json';
  const protocol = isFile ? await readCustomProtocol(nameOrFile) : findProtocol(nameOrFile);
  if (dataFolder === undefined && !protocol.drawn) {
    const hint = `Name it with --data. ${protocol.title}: ${protocol.source}`;
    throw new S3aError('DATASET', `${protocol.title} needs the folder that its files lie in`, hint);
  }
  const folder = resolve(dataFolder ?? '.');
  const info = protocol.drawn ? undefined : await stat(folder).catch((error: unknown) => whyOf(error));
  if (info !== undefined && (typeof info === 'string' || !info.isDirectory())) {
    const why = typeof info === 'string' ? info : 'it is no folder';
    throw new S3aError(
      'DATASET',
      `cannot read the data folder ${folder}: ${why}`,
      `${protocol.title}: ${protocol.source}`,
    );
  }
  const raw = await protocol.read(folder, seed);
  checkSize(protocol, raw, folder, partial);
  const split = (name: SplitName, { source, labels }: RawSplit): ProtocolSplit => {
    const { images, order } = neutralImages(`${protocol.name} ${name}`, source);
    return {
      images,
      labels: sealLabels({
        files: images.files,
        classes: raw.classes,
        labels: Int32Array.from(order, i => labels[i]),
        origins: i => originOf(source, order[i]),
      }),
    };
  };
  const { train, test } = raw.splits;
  return {
    name: protocol.name,
    title: protocol.title,
    k: namesOf(raw.classes, train.labels).size,
    outOfVocabulary: protocol.outOfVocabulary ?? false,
    drawn: protocol.drawn ?? false,
    ...(raw.vocab !== undefined && { vocab: raw.vocab }),
    settings: protocol.settings ?? {},
    splits: { train: split('train', train), ...(test && { test: split('test', test) }) },
  };
}

function namesOf(classes: readonly TrueClass[], labels: ArrayLike<number>): Set<string> {
  const used = new Set(Array.from(labels));
  return new Set(classes.filter((_, i) => used.has(i)).map(({ name }) => normalizeName(name)));
}

function checkSize({ title, size, source }: Protocol, raw: RawProtocol, folder: string, partial: boolean): void {
  const { train, test } = raw.splits;
  const found = {
    classes: raw.classes.length,
    train: countOf(train.source),
    ...(test && { test: countOf(test.source) }),
  };
  for (const [what, count] of Object.entries(found)) {
    if (count === 0) throw new S3aError('DATASET', `${title} in ${folder}: ${shown(what, 0)} found`, source);
    if (count > MAX_IMAGES) {
      throw new S3aError('DATASET', `${title} in ${folder}: ${shown(what, count)}, at most ${MAX_IMAGES}`);
    }
    const whole = size[what as keyof typeof size];
    if (whole !== undefined && count !== whole && !partial) {
      const absent = what === 'classes' ? undefined : raw.splits[what as SplitName]?.absent;
      throw new S3aError(
        'DATASET',
        `${title} in ${folder} is not whole: it has ${whole} ${WORDS[what]}, ${count} were found${absent === undefined ? '' : `, but not ${absent}`}`,
        `Unpack all of it (${source}), or take what is there with --partial.`,
      );
    }
  }
}

const WORDS: Readonly<Record<string, string>> = {
  classes: 'classes',
  train: 'training images',
  test: 'test images',
};

function shown(what: string, count: number): string {
  return `${count === 0 ? 'no' : count} ${WORDS[what]}`;
}
