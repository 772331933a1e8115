/** AdamW and the average that follows it, in one pass of WebAssembly vectors over weight, gradient, moments and average. */
import {
  assemble,
  type Code,
  F32,
  f32,
  f32x4,
  get,
  I32,
  type Instructions,
  int,
  loop,
  type Memory,
  move,
  set,
  V128,
  v128,
} from '../wasm.ts';

/** Arrays begin and end at multiples of so many bytes, which is what one turn of the loop takes. */
export const STRIDE = 64;

/** What an update is scaled by, in the order of the kernel's parameters; those of the average last. */
export const SCALARS = ['beta1', 'beta2', 'least', 'stepSize', 'kept', 'averageKept', 'averageNew'] as const;
export type ScalarName = (typeof SCALARS)[number];

/** An instance with a memory of its own, in which all addresses are multiples of 64 bytes. */
export interface UpdateKernel {
  readonly memory: Memory;
  /**
   * Over `weight`, `gradient`, `first`, `second` up to the address `end` of the weight, then the first five scalars. Returns the sum of
   * the squares of the gradient in float32, so over some ten thousand elements at a time.
   */
  update(...addressesAndScalars: number[]): number;
  /** The same with `average` before `end`, and all scalars. */
  updateWithAverage(...addressesAndScalars: number[]): number;
}

/** Makes an instance. */
export const updateKernel: () => UpdateKernel = assemble<Omit<UpdateKernel, 'memory'>>([code(false), code(true)]);

/**
 * The arithmetic of `adamW` and `ema` in optimizer.ts, operator by operator and so with the same roundings: no product is added
 * without being rounded first.
 */
function code(withAverage: boolean): Code {
  const arrays = withAverage ? 5 : 4;
  const [weight, gradient, first, second, average] = [0, 1, 2, 3, 4];
  const end = arrays;
  const names = SCALARS.slice(0, withAverage ? 7 : 5);
  const given = end + 1;
  const wide = given + names.length;
  const scalar = (name: ScalarName): number[] => get(wide + SCALARS.indexOf(name));
  const [nextM, nextV, next, g, square, sum] = [0, 1, 2, 3, 4, 5].map(i => wide + names.length + i);
  const times = (a: Instructions, name: ScalarName): number[] => f32x4.mul(a, scalar(name));
  const four = (at: number): number[] => [
    ...set(g, v128.load(get(gradient), at)),
    ...set(nextM, f32x4.add(times(v128.load(get(first), at), 'beta1'), get(g))),
    ...set(square, f32x4.mul(get(g), get(g))),
    ...set(sum, f32x4.add(get(sum), get(square))),
    ...set(nextV, f32x4.add(times(v128.load(get(second), at), 'beta2'), get(square))),
    ...v128.store(get(first), get(nextM), at),
    ...v128.store(get(second), get(nextV), at),
    ...set(
      next,
      f32x4.sub(
        times(v128.load(get(weight), at), 'kept'),
        times(f32x4.div(get(nextM), f32x4.add(f32x4.sqrt(get(nextV)), scalar('least'))), 'stepSize'),
      ),
    ),
    ...v128.store(get(weight), get(next), at),
    ...(withAverage
      ? v128.store(
          get(average),
          f32x4.add(times(v128.load(get(average), at), 'averageKept'), times(get(next), 'averageNew')),
          at,
        )
      : []),
  ];
  return {
    name: withAverage ? 'updateWithAverage' : 'update',
    parameters: [...Array<number>(arrays + 1).fill(I32), ...names.map(() => F32)],
    results: [F32],
    locals: Array<number>(names.length + 6).fill(V128),
    body: [
      ...names.map((_, i) => set(wide + i, f32x4.splat(get(given + i)))),
      loop(weight, end, [
        ...[0, 16, 32, 48].map(four),
        ...Array.from({ length: arrays }, (_, array) => move(array, int(STRIDE))),
      ]),
      [0, 1, 2, 3].map(lane => f32x4.lane(get(sum), lane)).reduce(f32.add),
    ],
  };
}
