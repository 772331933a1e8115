/** How each operator is spelled in ONNX, which stands here once. */
import { convWeight } from './conv-adjoints.ts';
import { convAsGemm, prefersGemm } from './conv-gemm.ts';
import type { Node, OperatorName, Operators } from './graph.ts';
import type { OnnxWriter } from './onnx-writer.ts';
import { type AttributeValue, DATA_TYPE } from './proto.ts';
import { sizeOf } from './shape.ts';
import { largestOf, positionOfLargest } from './webgpu-largest.ts';

type Spelling<O extends OperatorName> = (
  writer: OnnxWriter,
  node: Node<O>,
  inputs: string[],
  outputs: string[],
) => void;

const withAxis: Spelling<'Softmax' | 'LogSoftmax' | 'Concat' | 'Gather'> = (w, node, inputs, outputs) =>
  w.emit(node.operator, inputs, outputs, { axis: node.attributes.axis });

const reduction: Spelling<'ReduceSum' | 'ReduceMean' | 'ReduceMax'> = (w, node, [x], outputs) => {
  const { axes, keepdims } = node.attributes;
  w.emit(node.operator, [x, w.ints(axes)], outputs, { keepdims: Number(keepdims) });
};

/**
 * Sums of a matrix's rows, as for the gradient of a bias: as a product with ones ONNX Runtime makes them 2 to 10 times as fast
 * (1.30, on the CPU), and with half the error.
 */
const sum: Spelling<'ReduceSum'> = (w, node, [x], outputs) => {
  const [{ shape, dtype }] = node.inputs;
  const { axes, keepdims } = node.attributes;
  const ofRows = shape.length === 2 && axes.join() === '0' && !keepdims && dtype === 'float32';
  if (!ofRows || w.standard || w.webgpu || !w.fixed) return reduction(w, node, [x], outputs);
  const ones = w.once(`ones ${shape[0]}`, () => w.constant(dtype, [shape[0]], new Float32Array(shape[0]).fill(1)));
  w.emit('MatMul', [ones, x], outputs);
};

const pooling: Spelling<'AveragePool' | 'MaxPool'> = (w, node, inputs, outputs) => {
  const { kernel, strides, pads } = node.attributes;
  const attributes: Record<string, AttributeValue> = { kernel_shape: kernel, strides, pads };
  if (node.operator === 'AveragePool') attributes.count_include_pad = 1;
  w.emit(node.operator, inputs, outputs, attributes);
};

/** [n, k·k·n]: the product with it repeats each of n entries k times, and the whole row k times. */
function repetition(n: number, k: number): Float32Array {
  const matrix = new Float32Array(n * k * k * n);
  for (let copy = 0; copy < k; copy++) {
    for (let to = 0; to < k * n; to++) matrix[Math.floor(to / k) * k * k * n + copy * k * n + to] = 1;
  }
  return matrix;
}

/** Operators that are more than their name applied to their inputs. */
const SPELLINGS: {
  readonly [O in OperatorName as Record<never, never> extends Operators[O] ? never : O]: Spelling<O>;
} = {
  Gelu: (w, node, inputs, outputs) => {
    const { approximate } = node.attributes;
    if (!w.cuda) return w.emit('Gelu', inputs, outputs, { approximate });
    w.emit(approximate === 'tanh' ? 'FastGelu' : 'Gelu', inputs, outputs, {}, 'com.microsoft');
  },
  QuickGelu: (w, node, [x], outputs) => {
    const { alpha } = node.attributes;
    if (!w.standard) return w.emit('QuickGelu', [x], outputs, { alpha: { float: alpha } }, 'com.microsoft');
    const [scaled, gate] = [w.fresh(), w.fresh()];
    w.emit('Mul', [x, w.scalar(node.inputs[0].dtype, alpha)], [scaled]);
    w.emit('Sigmoid', [scaled], [gate]);
    w.emit('Mul', [x, gate], outputs);
  },
  Cast: (w, node, inputs, outputs) => {
    const largest = w.webgpu ? largestOf(node.inputs[0]) : undefined;
    if (largest) return positionOfLargest(w, largest, outputs);
    w.emit('Cast', inputs, outputs, { to: DATA_TYPE[node.attributes.to] });
  },
  Gemm: (w, node, inputs, outputs) => {
    const { transA, transB, alpha } = node.attributes;
    w.emit('Gemm', inputs, outputs, { transA: Number(transA), transB: Number(transB), alpha: { float: alpha } });
  },
  MatMul: (w, node, inputs, outputs) => {
    const { transA, transB, alpha } = node.attributes;
    if (!transA && !transB && alpha === 1) return w.emit('MatMul', inputs, outputs);
    const attributes = { transA: Number(transA), transB: Number(transB), alpha: { float: alpha } };
    if (!w.standard && !w.webgpu) return w.emit('FusedMatMul', inputs, outputs, attributes, 'com.microsoft');
    const factors = [transA, transB].map((turned, i) => (turned ? w.turned(inputs[i], node.inputs[i]) : inputs[i]));
    if (alpha === 1) return w.emit('MatMul', factors, outputs);
    // The smaller factor is scaled, not the product.
    const [scaled, size] = [w.fresh(), node.inputs.map(({ shape }) => sizeOf(shape))];
    const small = size[0] <= size[1] ? 0 : 1;
    w.emit('Mul', [factors[small], w.scalar(node.inputs[0].dtype, alpha)], [scaled]);
    w.emit('MatMul', small === 0 ? [scaled, factors[1]] : [factors[0], scaled], outputs);
  },
  Reshape: (w, node, [x], outputs) => w.emit('Reshape', [x, w.shape(node.attributes.shape)], outputs),
  Expand: (w, node, [x], outputs) => w.emit('Expand', [x, w.sizes(node.attributes.shape)], outputs),
  Transpose: (w, node, inputs, outputs) => w.emit('Transpose', inputs, outputs, { perm: node.attributes.perm }),
  Concat: withAxis,
  Slice: (w, node, [x], outputs) => {
    const { starts, ends, axes } = node.attributes;
    w.emit('Slice', [x, w.ints(starts), w.sizes(ends), w.ints(axes)], outputs);
  },
  Pad: (w, node, [x], outputs) => w.emit('Pad', [x, w.ints(node.attributes.pads)], outputs),
  Gather: withAxis,
  // ScatterElements, one index an element: ONNX Runtime's ScatterND adds rows in parallel and loses some of those that
  // meet at one index (measured with 1.30).
  ScatterAdd: (w, node, [indices, updates], outputs) => {
    const [index, target] = node.inputs;
    const [wide, column, spread, zeros] = [w.fresh(), w.fresh(), w.fresh(), w.fresh()];
    w.emit('Cast', [indices], [wide], { to: DATA_TYPE.int64 });
    w.emit('Reshape', [wide, w.ints([index.shape[0], ...target.shape.slice(1).map(() => 1)])], [column]);
    w.emit('Expand', [column, w.sizes(target.shape)], [spread]);
    w.emit('Expand', [w.scalar(target.dtype, 0), w.sizes(node.outputs[0].shape)], [zeros]);
    w.emit('ScatterElements', [zeros, spread, updates], outputs, { axis: 0, reduction: 'add' });
  },
  ReduceSum: sum,
  ReduceMean: reduction,
  ReduceMax: reduction,
  Softmax: withAxis,
  LogSoftmax: (w, node, [x], outputs) => {
    if (!w.webgpu) return withAxis(w, node, [x], outputs);
    const [largest, below, power, total, normaliser] = Array.from({ length: 5 }, () => w.fresh());
    const axes = w.ints([node.attributes.axis]);
    w.emit('ReduceMax', [x, axes], [largest], { keepdims: 1 });
    w.emit('Sub', [x, largest], [below]);
    w.emit('Exp', [below], [power]);
    w.emit('ReduceSum', [power, axes], [total], { keepdims: 1 });
    w.emit('Log', [total], [normaliser]);
    w.emit('Sub', [below, normaliser], outputs);
  },
  LayerNormalization: (w, node, inputs, outputs) =>
    w.emit('LayerNormalization', inputs, outputs, { axis: -1, epsilon: { float: node.attributes.epsilon } }),
  BatchNorm: (w, node, [x, weight, bias], [y, centred, mean, variance]) => {
    const [kept, square, safe, root, inverse, scale, scaled] = Array.from({ length: 7 }, () => w.fresh());
    const perChannel = w.ints([node.inputs[0].shape[1], 1, 1]);
    const column = (from: string): string => {
      const to = w.fresh();
      w.emit('Reshape', [from, perChannel], [to]);
      return to;
    };
    w.emit('ReduceMean', [x, w.ints([0, 2, 3])], [kept], { keepdims: 1 });
    w.emit('Reshape', [kept, w.ints(node.outputs[2].shape)], [mean]);
    w.emit('Sub', [x, kept], [centred]);
    w.emit('Mul', [centred, centred], [square]);
    w.emit('ReduceMean', [square, w.ints([0, 2, 3])], [variance], { keepdims: 0 });
    w.emit('Add', [variance, w.scalar(node.inputs[0].dtype, node.attributes.epsilon)], [safe]);
    w.emit('Sqrt', [safe], [root]);
    w.emit('Reciprocal', [root], [inverse]);
    w.emit('Mul', [weight, inverse], [scale]);
    w.emit('Mul', [centred, column(scale)], [scaled]);
    w.emit('Add', [scaled, column(bias)], [y]);
  },
  Conv: (w, node, inputs, outputs) => {
    // The rewrite counts positions over all images, so it needs to know how many there are. Constant kernels need none: ONNX
    // Runtime has a faster layout for them.
    if (w.fixed && !w.frozen.has(inputs[1]) && prefersGemm(node)) return convAsGemm(w, node, inputs, outputs);
    const { strides, pads, group } = node.attributes;
    w.emit('Conv', inputs, outputs, { kernel_shape: node.inputs[1].shape.slice(2), strides, pads, group });
  },
  ConvWeight: convWeight,
  ConvTranspose: (w, node, inputs, outputs) => {
    const { strides, pads, group, outputPadding } = node.attributes;
    const kernel_shape = node.inputs[1].shape.slice(2);
    w.emit('ConvTranspose', inputs, outputs, { kernel_shape, strides, pads, group, output_padding: outputPadding });
  },
  AveragePool: pooling,
  MaxPool: pooling,
  // Every row times a 0/1 matrix that repeats its entries along both axes: on the CPU several times faster than broadcasting such
  // short runs, or than Resize.
  Upsample: (w, { inputs: [x], outputs: [y], attributes: { factor } }, [from], outputs) => {
    const [n, c, h, width] = x.shape;
    const [rows, covered, typed] = [w.fresh(), w.fresh(), w.fresh()];
    const repeat = w.constant('float32', [width, factor * factor * width], repetition(width, factor));
    w.emit('Reshape', [from, w.shape([n * c * h, width])], [rows]);
    if (x.dtype !== 'float32') w.emit('Cast', [repeat], [typed], { to: DATA_TYPE[x.dtype] });
    w.emit('Gemm', [rows, x.dtype === 'float32' ? repeat : typed], [covered]);
    w.emit('Reshape', [covered, w.shape(y.shape)], outputs);
  },
  ArgMax: (w, node, inputs, outputs) =>
    w.emit('ArgMax', inputs, outputs, { axis: node.attributes.axis, keepdims: 0, select_last_index: 0 }),
  TopK: (w, node, [x], outputs) => {
    if (w.webgpu && node.attributes.k === 1)
      return w.emit('ReduceMax', [x, w.ints([-1])], [outputs[0]], { keepdims: 1 });
    w.emit('TopK', [x, w.ints([node.attributes.k])], outputs, { axis: -1 });
  },
  OneHot: (w, node, [indices], outputs) => {
    if (w.webgpu && node.inputs[0].dtype === 'int32') {
      const { depth } = node.attributes;
      const [column, hit] = [w.fresh(), w.fresh()];
      w.emit('Reshape', [indices, w.shape([...node.inputs[0].shape, 1])], [column]);
      w.emit(
        'Equal',
        [
          column,
          w.constant(
            'int32',
            [depth],
            Int32Array.from({ length: depth }, (_, i) => i),
          ),
        ],
        [hit],
      );
      return w.emit('Cast', [hit], outputs, { to: DATA_TYPE.float32 });
    }
    const values = w.constant('float32', [2], Float32Array.of(0, 1));
    w.emit('OneHot', [indices, w.constant('int32', [1], Int32Array.of(node.attributes.depth)), values], outputs, {
      axis: -1,
    });
  },
};

/** Writes a node whose inputs and outputs have these names; an operator without attributes has ONNX's name. */
export function spell(writer: OnnxWriter, node: Node, inputs: string[], outputs: string[]): void {
  const spelling = (SPELLINGS as Partial<Record<OperatorName, Spelling<OperatorName>>>)[node.operator];
  if (spelling) spelling(writer, node, inputs, outputs);
  else writer.emit(node.operator, inputs, outputs);
}
