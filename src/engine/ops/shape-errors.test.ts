/** What every constructor says of operands that do not fit: the operator and the shapes (or types), in one line. */
import { describe, expect, it } from 'vitest';
import { constant, type DType, input, program, scalar, state } from '../graph.ts';
import * as ops from './index.ts';

/** What only JavaScript can pass. */
const untyped = (value: unknown) => value as never;
const t = (...shape: number[]) => input('t', 'float32', shape);
const typed = (dtype: DType, ...shape: number[]) => input('t', dtype, shape);

/** Constructors that take any shape; of them only types can be wrong. */
const anyShape = [
  ...[
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
    'gelu',
    'quickGelu',
  ],
  ...['cast', 'oneHot', 'full'],
];

const shapeErrors: Record<string, [build: () => unknown, message: string][]> = {
  add: [[() => ops.add(t(2, 3), t(4, 3)), 'Add of [2, 3] and [4, 3]: axis 0 does not broadcast']],
  sub: [[() => ops.sub(t(3), t(4)), 'Sub of [3] and [4]: axis 0 does not broadcast']],
  mul: [
    [() => ops.mul(t(2, 3), t(2)), 'Mul of [2, 3] and [2]: axis 1 does not broadcast'],
    [() => ops.mul(2, 3), 'Mul of two numbers: one operand must be a tensor'],
  ],
  div: [[() => ops.div(t(5, 1, 2), t(3, 3)), 'Div of [5, 1, 2] and [3, 3]: axis 2 does not broadcast']],
  maximum: [[() => ops.maximum(t(2), t(3)), 'Max of [2] and [3]']],
  minimum: [[() => ops.minimum(t(2), t(3)), 'Min of [2] and [3]']],
  equal: [[() => ops.equal(t(2), t(3)), 'Equal of [2] and [3]']],
  greater: [[() => ops.greater(t(2), t(3)), 'Greater of [2] and [3]']],
  greaterOrEqual: [[() => ops.greaterOrEqual(t(2), t(3)), 'GreaterOrEqual of [2] and [3]']],
  and: [[() => ops.and(typed('bool', 2), typed('bool', 3)), 'And of [2] and [3]']],
  where: [
    [() => ops.where(typed('bool', 2), t(3), t(3)), 'Where of [2] and [3]'],
    [() => ops.where(typed('bool', 3), t(3), t(2)), 'Where of [3] and [2]'],
  ],
  reshape: [
    [() => ops.reshape(t(2, 3), [4]), 'Reshape of [2, 3] and [4]: the sizes differ'],
    [() => ops.reshape(t(2, 3), [-1, 4]), 'Reshape of [2, 3] and [-1, 4]'],
    [() => ops.reshape(t(2, 3), [-1, -1]), 'Reshape of [2, 3] and [-1, -1]'],
  ],
  expand: [
    [() => ops.expand(t(2, 3), [4, 3]), 'Expand of [2, 3] and [4, 3]'],
    [() => ops.expand(t(2, 3), [2, 1]), 'Expand of [2, 3] and [2, 1]: the tensor does not broadcast to the shape'],
  ],
  transpose: [[() => ops.transpose(t(2, 3), [0, 0]), 'Transpose of [2, 3] and [0, 0]: not a permutation of the axes']],
  concat: [
    [() => ops.concat([t(2, 3), t(3, 3)], 1), 'Concat of [2, 3] and [3, 3]: extents off axis 1 differ'],
    [() => ops.concat([t(2, 3), t(2)], 0), 'Concat of [2, 3] and [2]'],
    [() => ops.concat([t(2, 3)], 2), 'Concat of [2, 3]: axis 2 does not exist'],
    [() => ops.concat([], 0), 'Concat of : at least one tensor is needed'],
  ],
  slice: [
    [() => ops.slice(t(2, 3), 1, 0, 4), 'Slice of [2, 3]: [0, 4) is not inside axis 1'],
    [() => ops.slice(t(2, 3), 2, 0), 'Slice of [2, 3]: axis 2 does not exist'],
    [() => ops.slice(t(4), 0, 0.5, 2), 'Slice of [4]: [0.5, 2) is not inside axis 0'],
  ],
  split: [[() => ops.split(t(2, 6), -1, [2, 3]), 'split of [2, 6] and [2, 3]: the sizes do not add up']],
  pad: [
    [() => ops.pad(t(2, 3), [1, 1]), 'Pad of [2, 3] and [1, 1]'],
    [() => ops.pad(t(2), [0, -1]), 'Pad of [2] and [0, -1]'],
  ],
  gather: [[() => ops.gather(t(2, 3), typed('int32', 2), 2), 'Gather of [2, 3]: axis 2 does not exist']],
  pick: [[() => ops.pick(t(2, 3), [0], 2), 'Gather of [2, 3]: axis 2 does not exist']],
  scatterAdd: [[() => ops.scatterAdd(typed('int32', 2), t(3, 4), 5), 'ScatterAdd of [2] and [3, 4]']],
  matMul: [
    [() => ops.matMul(t(2, 3), t(4, 5)), 'Gemm of [2, 3] and [4, 5]: inner extents 3 and 4 differ'],
    [
      () => ops.matMul(t(7, 2, 3), t(7, 3, 5), { transA: true, transB: true }),
      'MatMul of [7, 2, 3] and [7, 3, 5]: inner extents 2 (transposed) and 5 (transposed) differ',
    ],
    [() => ops.matMul(t(2, 2, 3), t(3, 3, 5)), 'MatMul of [2] and [3]'],
    [() => ops.matMul(t(3), t(3, 5)), 'MatMul of [3] and [3, 5]: matrices are needed'],
  ],
  gemm: [
    [() => ops.gemm(t(2, 2, 3), t(3, 5)), 'Gemm of [2, 2, 3] and [3, 5]: needs two matrices'],
    [() => ops.gemm(t(2, 3), t(3, 5), t(3)), 'Gemm of [3] and [2, 5]'],
    [() => ops.gemm(t(1, 3), t(3, 5), t(2, 5)), 'Gemm of [2, 5] and [1, 5]: the bias does not broadcast'],
  ],
  linear: [
    [() => ops.linear(t(2, 4, 3), t(5, 4)), 'linear of [2, 4, 3] and [5, 4]'],
    [() => ops.linear(t(2, 4), t(5, 4), t(4)), 'linear of [5, 4] and [4]: the bias is not [O]'],
  ],
  softmax: [[() => ops.softmax(t(2, 3), 2), 'Softmax of [2, 3]: axis 2 does not exist']],
  logSoftmax: [[() => ops.logSoftmax(t(2, 3), -3), 'LogSoftmax of [2, 3]: axis -3 does not exist']],
  layerNorm: [
    [() => ops.layerNorm(t(2, 3), t(2), t(3)), 'LayerNormalization of [2, 3] and [2] and [3]'],
    [() => ops.layerNorm(t(2, 3), t(3), t(3, 1)), 'LayerNormalization of [2, 3] and [3] and [3, 1]'],
  ],
  batchNorm: [
    [() => ops.batchNorm(t(2, 3), t(3), t(3)), 'BatchNorm of [2, 3] and [3] and [3]'],
    [() => ops.batchNorm(t(2, 3, 4, 4), t(3), t(4)), 'BatchNorm of [2, 3, 4, 4] and [3] and [4]'],
  ],
  l2Normalize: [[() => ops.l2Normalize(t()), 'ReduceSum of []: axis -1 does not exist']],
  conv2d: [
    [
      () => ops.conv2d(t(1, 3, 8, 8), t(4, 2, 3, 3)),
      'Conv of [1, 3, 8, 8] and [4, 2, 3, 3]: the channels do not match',
    ],
    [() => ops.conv2d(t(1, 3, 2, 8), t(4, 3, 3, 3)), 'Conv of [1, 3, 2, 8] and [4, 3, 3, 3]: the kernel exceeds'],
    [() => ops.conv2d(t(1, 4, 8, 8), t(4, 2, 3, 3), undefined, { group: 2 }), 'group 2 is neither 1 nor depthwise'],
    [() => ops.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), t(3)), 'Conv of [4, 3, 3, 3] and [3]: the bias is not [O]'],
    [() => ops.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), undefined, { stride: 0 }), 'no window has stride 0 and padding 0'],
  ],
  convTranspose2d: [
    [() => ops.convTranspose2d(t(1, 3, 4, 4), t(4, 3, 3, 3), 6, 6), 'ConvTranspose of [1, 3, 4, 4] and [4, 3, 3, 3]'],
    [() => ops.convTranspose2d(t(1, 3, 4, 4), t(3, 2, 3, 3), 7, 6), 'no output of 7×6 has this gradient'],
    [() => ops.convTranspose2d(t(1, 4, 4, 4), t(4, 2, 3, 3), 6, 6, { group: 2 }), 'group 2 is neither 1 nor depthwise'],
  ],
  convWeight2d: [
    [
      () => ops.convWeight2d(t(2, 3, 4, 4), t(1, 5, 2, 2), [3, 3]),
      'ConvWeight of [2, 3, 4, 4] and [1, 5, 2, 2]: needs',
    ],
    [() => ops.convWeight2d(t(2, 3, 4, 4), t(2, 5, 2, 3), [3, 3]), 'a kernel of 3×3 has other positions'],
  ],
  avgPool2d: [
    [() => ops.avgPool2d(t(1, 3, 2, 2), 3), 'AveragePool of [1, 3, 2, 2] and [3, 3]: the window does not fit'],
  ],
  maxPool2d: [
    [() => ops.maxPool2d(t(3, 4, 4), 2), 'MaxPool of [3, 4, 4] and [2, 2]'],
    [() => ops.maxPool2d(t(1, 3, 4, 4), 2, { padding: 2 }), 'MaxPool of [1, 3, 4, 4] and [2, 2]'],
    [() => ops.maxPool2d(t(1, 3, 4, 4), 2, { stride: 1.5 }), 'no window has stride 1.5 and padding 0'],
  ],
  upsample2d: [
    [() => ops.upsample2d(t(3, 4, 4), 2), 'Upsample of [3, 4, 4]: needs [N, C, H, W] and a whole factor, not 2'],
    [
      () => ops.upsample2d(t(1, 3, 4, 4), 1.5),
      'Upsample of [1, 3, 4, 4]: needs [N, C, H, W] and a whole factor, not 1.5',
    ],
  ],
  patchEmbed: [
    [
      () => ops.patchEmbed(t(1, 3, 9, 8), t(5, 3, 4, 4)),
      'patchEmbed of [1, 3, 9, 8] and [5, 3, 4, 4]: the image is not',
    ],
    [() => ops.patchEmbed(t(1, 3, 8, 8), t(5, 3, 4, 2)), 'patchEmbed of [1, 3, 8, 8] and [5, 3, 4, 2]'],
  ],
  crossEntropy: [
    [() => ops.crossEntropy(t(2, 3), typed('int32', 3)), 'crossEntropy of [2, 3] and [3]: needs [B, V] and [B]'],
  ],
  sum: [
    [() => ops.sum(t(2, 3), { axes: [2] }), 'ReduceSum of [2, 3]: axis 2 does not exist'],
    [() => ops.sum(t(2, 3), { axes: [1, -1] }), 'ReduceSum of [2, 3] and [1, 1]: an axis is named twice'],
    [() => ops.sum(t(2, 3), untyped({ axis: 1 })), 'ReduceSum of [2, 3]: takes { axes, keepdims }, and axes is a list'],
    [() => ops.sum(t(2, 3), untyped({ axes: 1 })), 'ReduceSum of [2, 3]: takes { axes, keepdims }'],
    [() => ops.sum(t(2, 3), untyped(1)), 'ReduceSum of [2, 3]: takes { axes, keepdims }'],
  ],
  mean: [[() => ops.mean(t(2, 3), { axes: [-3] }), 'ReduceMean of [2, 3]: axis -3 does not exist']],
  max: [[() => ops.max(t(2, 3), { axes: [1.5] }), 'ReduceMax of [2, 3]: axis 1.5 does not exist']],
  sumTo: [
    [() => ops.sumTo(t(2, 3), [5]), 'sumTo of [2, 3] and [5]'],
    [() => ops.sumTo(t(3), [2, 3]), 'sumTo of [3] and [2, 3]: the second does not broadcast to the first'],
  ],
  maskedMean: [[() => ops.maskedMean(t(2, 3), t(3)), 'maskedMean of [2, 3] and [3]: the shapes differ']],
  argMax: [[() => ops.argMax(t(2, 3), 2), 'ArgMax of [2, 3]: axis 2 does not exist']],
  topK: [
    [() => ops.topK(t(2, 3), 4), 'TopK of [2, 3]: k = 4 is not inside the last axis'],
    [() => ops.topK(t(2, 3), 1.5), 'TopK of [2, 3]: k = 1.5 is not inside the last axis'],
  ],
};

const typeErrors: [name: string, build: () => unknown, message: string][] = [
  ['add', () => ops.add(t(2), typed('int32', 2)), 'Add of float32 and int32: the types differ'],
  ['mul', () => ops.mul(typed('bool', 2), typed('bool', 2)), 'Mul of bool: other numbers are needed'],
  ['neg', () => ops.neg(typed('uint8', 2)), 'Neg of uint8: other numbers are needed'],
  ['abs', () => ops.abs(typed('bool', 2)), 'Abs of bool: other numbers are needed'],
  ['mean', () => ops.mean(ops.equal(t(2), 1)), 'ReduceMean of bool: other numbers are needed'],
  ['sum', () => ops.sum(typed('uint8', 2)), 'ReduceSum of uint8: other numbers are needed'],
  ['max', () => ops.max(typed('bool', 2)), 'ReduceMax of bool: other numbers are needed'],
  ['argMax', () => ops.argMax(typed('bool', 2)), 'ArgMax of bool: other numbers are needed'],
  ['topK', () => ops.topK(typed('bool', 2), 1), 'TopK of bool: other numbers are needed'],
  ['a list', () => ops.add(t(2), untyped([1, 2])), 'Add of Array of length 2: tensors are needed'],
  ['undefined', () => ops.mul(2, untyped(undefined)), 'Mul of undefined: tensors are needed'],
  ['exp', () => ops.exp(typed('int32', 2)), 'Exp of int32: floats are needed'],
  ['gelu', () => ops.gelu(typed('uint8', 2)), 'Gelu of uint8: floats are needed'],
  ['and', () => ops.and(t(2), typed('bool', 2)), 'And of float32 and bool: bool is needed'],
  ['where', () => ops.where(t(2), t(2), t(2)), 'Where needs a bool condition, not float32'],
  ['concat', () => ops.concat([t(2), typed('float64', 2)], 0), 'Concat of float32 and float64: the types differ'],
  ['matMul', () => ops.matMul(t(2, 2), typed('float64', 2, 2)), 'Gemm of float32 and float64: the types differ'],
  ['gemm', () => ops.gemm(t(2, 2), t(2, 2), typed('float64', 2)), 'Gemm of float32 and float64: the types differ'],
  ['gather', () => ops.gather(t(2, 2), t(2)), 'Gather at float32 indices: int32 is needed'],
  ['oneHot', () => ops.oneHot(t(2), 3), 'OneHot at float32 indices: int32 is needed'],
  ['crossEntropy', () => ops.crossEntropy(t(2, 3), t(2)), 'OneHot at float32 indices: int32 is needed'],
  ['softmax', () => ops.softmax(typed('int32', 2)), 'Softmax of int32: floats are needed'],
  ['conv2d', () => ops.conv2d(t(1, 1, 2, 2), typed('float64', 1, 1, 1, 1)), 'Conv of float32 and float64'],
];

const thrown = (build: () => unknown): { code?: string; message: string } => {
  try {
    build();
  } catch (error) {
    return error as { code?: string; message: string };
  }
  throw new Error('nothing was thrown');
};

describe('shape errors', () => {
  it('are checked for every constructor', () => {
    expect([...Object.keys(shapeErrors), ...anyShape].sort()).toEqual(Object.keys(ops).sort());
  });

  it.each(Object.entries(shapeErrors))('of %s name the operator and the shapes', (_, rows) => {
    for (const [build, message] of rows) {
      const error = thrown(build);
      expect(error.message).toContain(message);
      expect(error.message).not.toContain('\n');
      expect(error.code).toBe('SHAPE');
    }
  });

  it.each(typeErrors)('of types in %s name the operator and the types', (_, build, message) => {
    expect(thrown(build)).toMatchObject({ code: 'DTYPE', message: expect.stringContaining(message) as string });
  });
});

describe('inputs, constants and programs', () => {
  const x = input('x', 'float32', [2]);
  it.each<[string, string, () => unknown, string]>([
    ['SHAPE', 'an extent of 0', () => input('x', 'float32', [2, 0]), "input 'x' has shape [2, 0]"],
    ['SHAPE', 'a fraction', () => state('w', [1.5]), "state 'w' has shape [1.5]"],
    ['SHAPE', 'a number as shape', () => input('x', 'float32', untyped(3)), "input 'x' has the number 3 as its shape"],
    ['SHAPE', 'no shape', () => state('w', untyped(undefined)), "state 'w' has undefined as its shape"],
    ['DTYPE', 'an unknown type', () => input('x', untyped('float'), [2]), "input 'x' is of the unknown type 'float'"],
    ['DTYPE', 'a list of numbers', () => constant(untyped([1, 2]), [2]), 'takes a Float32Array, not Array of length 2'],
    ['DTYPE', 'an array of another type', () => constant(Float32Array.of(1), [1], 'int32'), 'takes a Int32Array'],
    ['SHAPE', 'a constant', () => constant(new Float32Array(3), [2]), 'constant of 3 values does not fill shape [2]'],
    ['DTYPE', 'a scalar', () => scalar(1, 'bool'), 'a scalar constant of bool is not supported'],
    [
      'GRAPH',
      'two inputs of one name',
      () => program({ y: ops.add(x, input('x', 'float32', [2])) }),
      "two different inputs are named 'x'",
    ],
    ['GRAPH', 'no output', () => program({}), 'a program needs an output'],
    ['GRAPH', 'an output that is none', () => program({ y: untyped(undefined) }), "output 'y' is undefined, no tensor"],
    ['GRAPH', 'an output over an input', () => program({ x: ops.neg(x) }), "output 'x' has the name of an input"],
    ['GRAPH', 'a colon', () => program({ 'y:0': ops.neg(x) }), "'y:0' cannot name an input or output"],
    ['GRAPH', 'no name', () => program({ '': ops.neg(x) }), "'' cannot name an input or output"],
    [
      'GRAPH',
      'a state of another shape',
      () => {
        const w = state('w', [2]);
        return program({ w: ops.sum(w) });
      },
      "output 'w' is float32 [] and cannot replace the state float32 [2]",
    ],
  ])('%s: %s is one clear line', (code, _, build, message) => {
    expect(thrown(build)).toMatchObject({ code, message: expect.stringContaining(message) as string });
  });
});
