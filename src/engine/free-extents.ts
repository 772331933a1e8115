/** Extents that a model leaves free: what depends on them is computed when it runs. */
import { S3aError } from '../errors.ts';
import type { Program } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';

/**
 * An extent that the model leaves free: where a traced shape has it, or a multiple of it, any other may stand. Trace with a
 * number that nothing else in the program is a multiple of, such as a large prime. An input has it as one of its extents.
 */
export interface FreeExtent {
  readonly extent: number;
  /** How the file names the axis. */
  readonly name: string;
}

/** What is asked of the writer: `once` gives the name that it gave for this key before, or makes one. */
type SizeWriter = Pick<NodeWriter, 'fresh' | 'ints' | 'emit'> & { once(key: string, make: () => string): string };

/** Writes shapes and sizes, int64 [n], of a program of which some extents are free. */
export interface FreeSizes {
  /** The shape that a Reshape takes: −1 stands for one free extent. */
  shape(shape: readonly number[]): string;
  /** Extents, or positions on an axis, of which the free ones are computed when the model runs. */
  sizes(values: readonly number[]): string;
}

/** @throws S3aError GRAPH when a free extent is that of no input, or 1, of which everything is a multiple */
export function freeSizes(w: SizeWriter, inputs: Program['inputs'], free: readonly FreeExtent[]): FreeSizes {
  for (const { extent, name } of free) {
    if (!(extent > 1)) {
      const hint = 'Trace with a number that nothing else in the program is a multiple of, such as 251.';
      throw new S3aError('GRAPH', `the free extent '${name}' is ${extent}`, hint);
    }
    if (![...inputs.values()].some(({ shape }) => shape.includes(extent))) {
      throw new S3aError('GRAPH', `no input has the free extent '${name}' (${extent})`);
    }
  }
  const isFree = (n: number): boolean => n > 0 && free.some(({ extent }) => n % extent === 0);
  const extentOf = ({ extent }: FreeExtent): string => {
    const [input, { shape }] = [...inputs].find(([, tensor]) => tensor.shape.includes(extent))!;
    const axis = shape.indexOf(extent);
    const size = w.fresh();
    w.emit('Shape', [input], [size], { start: axis, end: axis + 1 });
    return size;
  };
  // A product of free extents and a number.
  const sizeOf = (n: number): string =>
    w.once(`size ${n}`, () => {
      const factor = free.find(({ extent }) => n % extent === 0);
      if (!factor) return w.ints([n]);
      if (n === factor.extent) return extentOf(factor);
      const product = w.fresh();
      w.emit('Mul', [sizeOf(factor.extent), sizeOf(n / factor.extent)], [product]);
      return product;
    });
  const sizes = (values: readonly number[]): string => {
    if (!values.some(isFree)) return w.ints(values);
    return w.once(`sizes ${values}`, () => {
      const parts = values.map(n => (isFree(n) ? sizeOf(n) : w.ints([n])));
      if (parts.length === 1) return parts[0];
      const joined = w.fresh();
      w.emit('Concat', parts, [joined], { axis: 0 });
      return joined;
    });
  };
  return {
    sizes,
    shape: extents =>
      extents.filter(isFree).length > 1 ? sizes(extents) : w.ints(extents.map(n => (isFree(n) ? -1 : n))),
  };
}
