/** What every constructor computes, against what PyTorch recorded (scripts/goldens/engine_ops.py). */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, type DType, input, program, type Session, sizeOf, type Tensor, type TensorData } from '../index.ts';
import * as ops from './index.ts';

interface Value {
  type: DType;
  shape: number[];
  data: number[];
}
interface Recorded {
  name: string;
  // biome-ignore lint/suspicious/noExplicitAny: options differ from operator to operator.
  options: Record<string, any>;
  inputs: Value[];
  outputs: Value[];
}

const recorded = JSON.parse(
  readFileSync(new URL('../../../test/goldens/engine/ops.json', import.meta.url), 'utf8'),
) as Recorded[];

/** Constructors that take their inputs and then the recorded options as one object. */
const plain = ['add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'equal', 'greater', 'greaterOrEqual', 'and', 'where'];
const unary = [
  'neg',
  'abs',
  'exp',
  'log',
  'sqrt',
  'reciprocal',
  'sigmoid',
  'tanh',
  'erf',
  'relu',
  'square',
  'quickGelu',
];

type Build = (x: Tensor[], options: Recorded['options']) => Tensor | Tensor[];

const builders: Record<string, Build> = {
  ...Object.fromEntries(
    [...plain, ...unary, 'l2Normalize', 'linear', 'patchEmbed', 'crossEntropy', 'maskedMean'].map(name => [
      name,
      (x: Tensor[]) => (ops as unknown as Record<string, (...args: Tensor[]) => Tensor>)[name](...x),
    ]),
  ),
  gelu: ([x], { approximate }) => ops.gelu(x, approximate),
  cast: ([x], { to }) => ops.cast(x, to),
  reshape: ([x], { shape }) => ops.reshape(x, shape),
  expand: ([x], { shape }) => ops.expand(x, shape),
  transpose: ([x], { perm }) => ops.transpose(x, perm),
  concat: (x, { axis }) => ops.concat(x, axis),
  slice: ([x], { axis, start, end }) => ops.slice(x, axis, start, end),
  split: ([x], { axis, sizes }) => ops.split(x, axis, sizes),
  pad: ([x], { pads }) => ops.pad(x, pads),
  gather: ([x, indices], { axis }) => ops.gather(x, indices, axis),
  pick: ([x], { indices, axis }) => ops.pick(x, indices, axis),
  scatterAdd: ([indices, updates], { rows }) => ops.scatterAdd(indices, updates, rows),
  matMul: ([a, b], options) => ops.matMul(a, b, options),
  gemm: ([a, b, c], options) => ops.gemm(a, b, c, options),
  softmax: ([x], { axis }) => ops.softmax(x, axis),
  logSoftmax: ([x], { axis }) => ops.logSoftmax(x, axis),
  layerNorm: ([x, w, b], { epsilon }) => ops.layerNorm(x, w, b, epsilon),
  batchNorm: ([x, w, b]) => Object.values(ops.batchNorm(x, w, b)),
  conv2d: ([x, w, b], options) => ops.conv2d(x, w, b, options),
  convTranspose2d: ([x, w], { height, width, ...options }) => ops.convTranspose2d(x, w, height, width, options),
  convWeight2d: ([x, y], { kernel, ...window }) => ops.convWeight2d(x, y, kernel, window),
  avgPool2d: ([x], { kernel, ...options }) => ops.avgPool2d(x, kernel, options),
  maxPool2d: ([x], { kernel, ...options }) => ops.maxPool2d(x, kernel, options),
  upsample2d: ([x], { factor }) => ops.upsample2d(x, factor),
  sum: ([x], options) => ops.sum(x, options),
  mean: ([x], options) => ops.mean(x, options),
  max: ([x], options) => ops.max(x, options),
  sumTo: ([x], { shape }) => ops.sumTo(x, shape),
  argMax: ([x], { axis }) => ops.argMax(x, axis),
  topK: ([x], { k }) => Object.values(ops.topK(x, k)),
  oneHot: ([x], { depth }) => ops.oneHot(x, depth),
  full: (_, { value, shape }) => ops.full(value, shape),
};

function array({ type, data }: Value): TensorData {
  if (type === 'float64') return Float64Array.from(data);
  if (type === 'int32') return Int32Array.from(data);
  if (type === 'uint8' || type === 'bool') return Uint8Array.from(data, Number);
  return Float32Array.from(data);
}

describe('the values of operators', () => {
  let session: Session;
  let results: Record<string, TensorData>;
  // One session holds all the cases.
  const outputs: Record<string, Tensor> = {};
  const feeds: Record<string, TensorData> = {};
  recorded.forEach(({ name, options, inputs }, i) => {
    const tensors = inputs.map((value, j) => {
      feeds[`${i}.x${j}`] = array(value);
      return input(`${i}.x${j}`, value.type, value.shape);
    });
    [builders[name](tensors, options)].flat().forEach((y, j) => {
      outputs[`${i}.y${j}`] = y;
    });
  });

  beforeAll(async () => {
    session = await compile(program(outputs), { threads: 1 });
    results = await session.run(feeds);
  });
  afterAll(() => session?.dispose());

  it('are recorded for every constructor', () => {
    expect(Object.keys(builders).sort()).toEqual(Object.keys(ops).sort());
    expect([...new Set(recorded.map(({ name }) => name))].sort()).toEqual(Object.keys(ops).sort());
  });

  it.each(recorded.map((one, i) => ({ ...one, i })))('$i: $name', ({ i, outputs: expected }) => {
    expected.forEach((value, j) => {
      const result = results[`${i}.y${j}`];
      expect(outputs[`${i}.y${j}`]).toMatchObject({ dtype: value.type, shape: value.shape });
      expect(result).toHaveLength(sizeOf(value.shape));
      if (value.type.startsWith('float')) {
        // Sums of at most 75 products of numbers below 4, in any order: a few float32 roundings.
        expect(result as Float32Array).toBeAllclose(array(value) as Float32Array, { rtol: 2e-6, atol: 2e-6 });
      } else {
        expect(result).toEqual(array(value));
      }
    });
  });
});
