/** What a protocol is: a data set with its splits, its classes, and the settings the method has for it (METHOD §3). */
import type { TrueClass } from '../evaluate/sealed-labels.ts';
import type { Concept } from '../vocab/vocabulary.ts';
import type { ImageSource } from './image-source.ts';

/** Settings of a run that a data set has values of its own for; named as in the configuration. */
export interface ProtocolSettings {
  threshold?: number;
  emaStart?: number;
  emaEnd?: number;
  emaSteps?: number;
  epochs?: number;
  lr?: number;
  structuralWeight?: number;
}

/** A split as a reader finds it: images, and for each the place of its class. */
export interface RawSplit {
  source: ImageSource;
  labels: ArrayLike<number>;
  /** A file or folder that a list names and that is not there, as an example for messages. */
  absent?: string;
}

/** A data set as a reader finds it. */
export interface RawProtocol {
  /** In the order of the labels, from 0. */
  classes: readonly TrueClass[];
  /** Names to choose from where the set has its own: a vocabulary by name, or its concepts. */
  vocab?: string | readonly Concept[];
  /** The transductive figures are taken on `train`, the inductive ones on `test`. */
  splits: { train: RawSplit; test?: RawSplit };
}

export type SplitName = keyof RawProtocol['splits'];

/** How large the whole data set is, to notice one that is half unpacked. */
export interface ProtocolSize {
  classes?: number;
  train?: number;
  test?: number;
}

/** One protocol; a small file each in sets/. */
export interface Protocol {
  /** What it is asked for by, such as `stanford-dogs`. */
  name: string;
  /** As papers write it. */
  title: string;
  /** Where its files are to be had. */
  source: string;
  size: ProtocolSize;
  /** Whether true names are missing from the in21k vocabulary, so that the semantic score counts (METHOD §5). */
  outOfVocabulary?: boolean;
  settings?: ProtocolSettings;
  /** Its images are drawn, other ones for each seed: there is no data folder to read. */
  drawn?: boolean;
  /**
   * Reads the lists and labels of the data set in `folder`, an absolute path; no image is opened.
   * @param seed of what is drawn; data sets that lie on the disk are the same for all
   */
  read(folder: string, seed: number): Promise<RawProtocol>;
}
