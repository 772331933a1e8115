/** What an ablation is: a few variants of one method, each with a figure. */
import type { Config, ConfigInput } from '../config/schema.ts';
import type { Method } from './method.ts';

/** One point of a curve or one bar. */
export interface Variant {
  /** Unique within the ablation. */
  name: string;
  /** Where it lies on the axis, for curves. */
  value?: number;
  method: Method;
  /** Settings that differ from those of the benchmark. */
  settings: ConfigInput;
  /** Share of the training images that are used. */
  images?: number;
  /** Number of names to choose from. */
  names?: number;
}

/** What the variants are made from. */
export interface AblationBase {
  config: Config;
  /** K of the protocol. */
  k: number;
  /** Size of the vocabulary. */
  names: number;
  /** Without it, ablations of discovery leave training out. */
  trained: boolean;
}

/** An ablation; one small file each. */
export interface Ablation {
  name: string;
  title: string;
  about: string;
  /** Of curves; without it the variants are bars. */
  axis?: { title: string; scale: 'linear' | 'log' };
  variants(base: AblationBase): Variant[];
}
