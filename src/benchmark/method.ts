/** What a method of the table is: it gets images, names and a run folder, and gives a name for every image. */
import type { Group } from '../config/fields.ts';
import type { Config, ConfigInput } from '../config/schema.ts';
import type { Embedded } from '../run/embed.ts';
import type { RunHooks } from '../run/events.ts';
import type { Run } from '../run/store.ts';

/** What a method calls the images of a split. */
export interface Predicted {
  /** Neutral names of the images, as the protocol gives them. */
  files: readonly string[];
  /** The name of each image. */
  names: readonly string[];
  /** Each image's best names in order, where the method ranks them; the first is its name. */
  ranked?: readonly (readonly string[])[];
  /** Each image's cluster, where the method has clusters beside the names. */
  clusters?: ArrayLike<number>;
}

/** One line of the table: a method, or one of the two networks it has trained. */
export interface Outcome {
  /** `discovery`, `student`, `teacher` or a step such as `vote_1`; `''` for a method with one line only. */
  part: string;
  /** Steps on the way are kept in results.json and are no line of the table. */
  step?: boolean;
  train: Predicted;
  /** Images that the method has never seen. */
  test?: Predicted;
}

/** Everything a method may know. Labels are not among it. */
export interface MethodContext {
  /** The settings of this cell, with its seed and K. */
  readonly config: Config;
  /** Name of the data set. */
  readonly protocol: string;
  readonly hooks: RunHooks;
  /**
   * A run folder with these settings in which every stage that another method has computed from the same inputs is there
   * already. `training` gives a folder of this cell's own.
   */
  run(purpose: 'discovery' | 'training'): Promise<Run>;
  /** Neutral names of a run's images. */
  filesOf(embedded: Embedded): readonly string[];
  /** The images of the test split by the model as it is; undefined where the protocol has none. */
  readonly test: Embedded | undefined;
  /** The names of the true classes; for the bound alone. */
  trueNames(): readonly string[];
}

/** A method; one small file each. */
export interface Method {
  /** What it is asked for by. */
  name: string;
  /** As a table calls it. */
  title: string;
  /** One sentence. */
  about: string;
  /** Groups of settings that its figures depend on; others do not make it run again. */
  reads: readonly Group[];
  /** Settings without which it would be another method. */
  settings?: ConfigInput;
  /** Whether it is given the names of the true classes. */
  knowsNames?: boolean;
  run(context: MethodContext): Promise<Outcome[]>;
}
