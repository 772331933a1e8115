/**
 * A graph with weights of 8 bits, as ONNX Runtime's dynamic quantisation makes them: products of integers whose left factor is
 * quantised when the model runs. Its rules are those of onnxruntime.quantization with int8 weights, per_channel and
 * reduce_range.
 */
import { DATA_TYPE, type NodeFields } from '../../engine/proto.ts';
import { turned } from '../checkpoint/source.ts';
import type { Graph, Weight } from './graph.ts';

/** Nodes and weights that take the place of one node. */
interface Replacement {
  readonly nodes: readonly NodeFields[];
  readonly weights: readonly Weight[];
}

/** The graph with the matrices of its linear layers, its kernels and its lookup tables in 8 bits. */
export function toInt8(graph: Graph): Graph {
  const weights = new Map(graph.weights.map(weight => [weight.name, weight]));
  const uses = new Map<string, number>();
  for (const name of graph.nodes.flatMap(node => node.inputs)) uses.set(name, (uses.get(name) ?? 0) + 1);
  const replaced = new Set<string>();
  const made: Weight[] = [];
  // What is multiplied by several matrices, as queries, keys and values are, is quantised once.
  const quantised = new Set<string>();
  const nodes = graph.nodes.flatMap(node => {
    const weight = weights.get(node.inputs[node.type === 'Gather' ? 0 : 1]);
    if (weight?.type !== 'float32' || uses.get(weight.name) !== 1) return [node];
    const replacement = replace(node, weight, quantised);
    if (!replacement) return [node];
    replaced.add(weight.name);
    made.push(...replacement.weights);
    return replacement.nodes;
  });
  return { ...graph, nodes, weights: [...graph.weights.filter(({ name }) => !replaced.has(name)), ...made] };
}

function replace(node: NodeFields, weight: Weight, quantised: Set<string>): Replacement | undefined {
  if (node.type === 'Gemm' && node.attributes?.transB === 1 && weight.shape.length === 2) {
    return integerProduct(node, weight, quantised);
  }
  if (node.type === 'Conv') return quantisedKernel(node, weight);
  if (node.type === 'Gather' && weight.shape.length === 2) return quantisedTable(node, weight);
  return undefined;
}

/** x·Wᵀ + bias by MatMulInteger; a scale for each row of W, which is an output channel. */
function integerProduct(node: NodeFields, weight: Weight, quantised: Set<string>): Replacement {
  const [x, , bias] = node.inputs;
  const [out, inner] = weight.shape;
  const y = node.outputs[0];
  const scales = channelScales(weight.data() as Float32Array, out);
  const [values, scale] = [`${weight.name}_quantized`, `${weight.name}_scale`];
  const [xq, xScale, xZero] = ['', '_scale', '_zero_point'].map(part => `:${x}:quantized${part}`);
  const [sums, floats, factor, product] = ['sums', 'floats', 'factor', 'product'].map(part => `:${y}:${part}`);
  const dynamic = { type: 'DynamicQuantizeLinear', inputs: [x], outputs: [xq, xScale, xZero] };
  const first = !quantised.has(x);
  quantised.add(x);
  return {
    nodes: [
      ...(first ? [dynamic] : []),
      { type: 'MatMulInteger', inputs: [xq, values, xZero], outputs: [sums] },
      { type: 'Cast', inputs: [sums], outputs: [floats], attributes: { to: DATA_TYPE.float32 } },
      { type: 'Mul', inputs: [xScale, scale], outputs: [factor] },
      { type: 'Mul', inputs: [floats, factor], outputs: [bias ? product : y] },
      ...(bias ? [{ type: 'Add', inputs: [product, bias], outputs: [y] }] : []),
    ],
    weights: [
      {
        name: values,
        type: 'int8',
        shape: [inner, out],
        data: () => turned(quantiseRows(weight.data() as Float32Array, scales), inner),
      },
      { name: scale, type: 'float32', shape: [out], data: () => scales },
    ],
  };
}

/** A convolution whose kernel is stored in 8 bits; it computes in float32. */
function quantisedKernel(node: NodeFields, weight: Weight): Replacement {
  const scales = channelScales(weight.data() as Float32Array, weight.shape[0]);
  const [values, scale, kernel] = [`${weight.name}_quantized`, `${weight.name}_scale`, `:${weight.name}:dequantized`];
  return {
    nodes: [
      { type: 'DequantizeLinear', inputs: [values, scale], outputs: [kernel], attributes: { axis: 0 } },
      { ...node, inputs: node.inputs.map((name, i) => (i === 1 ? kernel : name)) },
    ],
    weights: [
      { ...weight, name: values, type: 'int8', data: () => quantiseRows(weight.data() as Float32Array, scales) },
      { name: scale, type: 'float32', shape: [scales.length], data: () => scales },
    ],
  };
}

/** A lookup in a table of uint8 with one scale; the rows found become floats. */
function quantisedTable(node: NodeFields, weight: Weight): Replacement {
  const { scale, zero } = tableRange(weight.data() as Float32Array);
  const names = ['quantized', 'scale', 'zero_point'].map(part => `${weight.name}_${part}`);
  const rows = `:${node.outputs[0]}:quantized`;
  return {
    nodes: [
      { ...node, inputs: [names[0], node.inputs[1]], outputs: [rows] },
      { type: 'DequantizeLinear', inputs: [rows, names[1], names[2]], outputs: node.outputs },
    ],
    weights: [
      {
        name: names[0],
        type: 'uint8',
        shape: weight.shape,
        data: () => quantiseTable(weight.data() as Float32Array, scale, zero),
      },
      { name: names[1], type: 'float32', shape: [], data: () => Float32Array.of(scale) },
      { name: names[2], type: 'uint8', shape: [], data: () => Uint8Array.of(zero) },
    ],
  };
}

// 7 bits: sums of two products of 8 bits would saturate on CPUs without VNNI.
const MOST = 64;

/**
 * Scale of each of `channels` equal parts: its largest magnitude / 64.
 * @returns [channels]
 */
export function channelScales(values: Float32Array, channels: number): Float32Array {
  const size = values.length / channels;
  return Float32Array.from({ length: channels }, (_, c) => {
    let largest = 0;
    for (let i = c * size; i < (c + 1) * size; i++) largest = Math.max(largest, Math.abs(values[i]));
    return largest === 0 ? 1 : largest / MOST;
  });
}

/** Values of equal parts as multiples of their scales, from −64 to 64. */
export function quantiseRows(values: Float32Array, scales: Float32Array): Int8Array {
  const size = values.length / scales.length;
  const out = new Int8Array(values.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.max(-MOST, Math.min(MOST, roundHalfEven(Math.fround(values[i] / scales[Math.floor(i / size)]))));
  }
  return out;
}

/** Scale and zero point by which uint8 spans the values and zero. */
export function tableRange(values: Float32Array): { scale: number; zero: number } {
  let [low, high] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  const scale = high === low ? 1 : Math.fround((high - low) / 255);
  return { scale, zero: roundHalfEven((0 - low) / scale) };
}

/** Values as uint8. */
export function quantiseTable(values: Float32Array, scale: number, zero: number): Uint8Array {
  const out = new Uint8Array(values.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = Math.max(0, Math.min(255, roundHalfEven(Math.fround(values[i] / scale)) + zero));
  }
  return out;
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}
