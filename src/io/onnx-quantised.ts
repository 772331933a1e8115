/** Whole numbers that stand for float weights in ONNX graphs: which tensors they are, with which scale and zero point, and the floats they stand for. */
import type { S3aError } from '../errors.ts';
import type { ByteFile } from './bytes.ts';
import { type OnnxNode, usersOf } from './onnx-graph.ts';
import { type OnnxArray, type OnnxTensor, rawStart, readElements } from './onnx-tensor.ts';

/** How a tensor was quantised: names of the tensors of its scale and zero point, and the axis along which they differ. */
export interface Quantisation {
  readonly scale: string;
  readonly zeroPoint: string | undefined;
  readonly axis: number;
}

/** Weights of 8 bits; biases are quantised to 32, if at all. */
const ARRAYS = { I8: Int8Array, U8: Uint8Array, I32: Int32Array };

function isQuantisedDtype(dtype: string): dtype is keyof typeof ARRAYS {
  return Object.hasOwn(ARRAYS, dtype);
}

const FLOATS: readonly string[] = ['F32', 'F16', 'BF16', 'F64'];

/**
 * The quantised tensors of a graph, found by the nodes that use them and not by their names: DequantizeLinear, also behind a
 * Gather of rows, and the integer products that ONNX Runtime's dynamic quantisation writes, whose result is multiplied by the
 * scale. A tensor whose uses disagree, or that has another use, is not in the result.
 */
export function findQuantisation(
  nodes: readonly OnnxNode[],
  tensors: ReadonlyMap<string, OnnxTensor>,
): Map<string, Quantisation> {
  const users = usersOf(nodes);
  const producers = new Map(nodes.flatMap(node => node.outputs.map(name => [name, node] as const)));
  const found = new Map<string, Quantisation>();
  for (const { name, dtype, shape } of tensors.values()) {
    if (!isQuantisedDtype(dtype)) continue;
    const uses = (users.get(name) ?? []).map(node => useOf(name, shape.length, node, users, producers, tensors));
    const [first] = uses;
    if (!first) continue;
    const same = uses.every(
      use => use && use.scale === first.scale && use.zeroPoint === first.zeroPoint && use.axis === first.axis,
    );
    const floats = FLOATS.includes(tensors.get(first.scale)?.dtype ?? '');
    if (same && floats && (first.zeroPoint === undefined || tensors.has(first.zeroPoint))) found.set(name, first);
  }
  return found;
}

function useOf(
  name: string,
  rank: number,
  node: OnnxNode,
  users: ReadonlyMap<string, OnnxNode[]>,
  producers: ReadonlyMap<string, OnnxNode>,
  tensors: ReadonlyMap<string, OnnxTensor>,
): Quantisation | undefined {
  const input = (i: number): string | undefined => node.inputs[i] || undefined;
  const made = (scale: string | undefined, zeroPoint: string | undefined, axis: number): Quantisation | undefined =>
    scale === undefined ? undefined : { scale, zeroPoint, axis };
  if (node.type === 'DequantizeLinear' && node.inputs[0] === name) {
    const axis = node.attributes.get('axis') ?? 1;
    return typeof axis === 'number' ? made(input(1), input(2), axis < 0 ? axis + rank : axis) : undefined;
  }
  if (node.type === 'Gather' && node.inputs[0] === name) {
    const [next, ...others] = users.get(node.outputs[0]) ?? [];
    if (next?.type !== 'DequantizeLinear' || next.inputs[0] !== node.outputs[0] || others.length > 0) return undefined;
    return made(next.inputs[1], next.inputs[2] || undefined, -1);
  }
  if (node.inputs[1] !== name) return undefined;
  if (node.type === 'MatMulInteger') return made(scaleAfter(node, users, producers, tensors), input(3), rank - 1);
  if (node.type === 'ConvInteger') return made(scaleAfter(node, users, producers, tensors), input(3), 0);
  if (node.type === 'MatMulIntegerToFloat') return made(input(3), input(5), rank - 1);
  if (node.type === 'DynamicQuantizeMatMul') return made(input(2), input(3), rank - 1);
  return undefined;
}

/** The weight's scale, from Cast(product) · (scale of the activations · scale of the weight). */
function scaleAfter(
  product: OnnxNode,
  users: ReadonlyMap<string, OnnxNode[]>,
  producers: ReadonlyMap<string, OnnxNode>,
  tensors: ReadonlyMap<string, OnnxTensor>,
): string | undefined {
  let [value] = product.outputs;
  let [next] = users.get(value) ?? [];
  if (next?.type === 'Cast') {
    [value] = next.outputs;
    [next] = users.get(value) ?? [];
  }
  if (next?.type !== 'Mul') return undefined;
  const factor = next.inputs.find(name => name !== value);
  const scales = factor === undefined ? undefined : producers.get(factor);
  if (scales?.type !== 'Mul') return undefined;
  const stored = scales.inputs.map(name => throughReshape(name, producers)).filter(name => tensors.has(name));
  return stored.length === 1 ? stored[0] : undefined;
}

/** A scale for each output channel of a convolution is reshaped before it is used. */
function throughReshape(name: string, producers: ReadonlyMap<string, OnnxNode>): string {
  const producer = producers.get(name);
  return producer?.type === 'Reshape' || producer?.type === 'Unsqueeze' ? producer.inputs[0] : name;
}

/** What turns the numbers into floats: one scale for all, or one for each slice of `axis`. */
export interface Steps {
  readonly axis: number;
  readonly scale: Float32Array;
  readonly zeroPoint: OnnxArray | undefined;
}

type Quantised = Int8Array | Uint8Array | Int32Array;

/** Elements that are held besides the result. */
const PIECE = 1 << 20;

/**
 * The floats that the numbers of a quantised tensor stand for: (q − zero point) · scale in float32.
 * @throws what `bad` makes for scales that do not fit the shape
 */
export async function dequantise(
  tensor: OnnxTensor,
  file: ByteFile,
  { axis, scale, zeroPoint }: Steps,
  bad: (what: string) => S3aError,
): Promise<Float32Array<ArrayBuffer>> {
  const { name, shape, dtype, count } = tensor;
  const Elements = ARRAYS[isQuantisedDtype(dtype) ? dtype : 'U8'];
  const zeros = zeroPoint ?? new Elements(scale.length);
  const fits = scale.length === 1 || (shape[axis] ?? 0) === scale.length;
  if (!fits || zeros.length !== scale.length || !(zeros instanceof Elements)) {
    throw bad(
      `tensor ${JSON.stringify(name)} of shape [${shape}] has ${scale.length} scales and ${zeros.length} zero points`,
    );
  }
  const each = scale.length === 1 ? count : shape.slice(axis + 1).reduce((product, n) => product * n, 1);
  const start = rawStart(tensor);
  const out = new Float32Array(count);
  const convert = (elements: Quantised, from: number): void => {
    for (let i = 0; i < elements.length; i++) {
      const slice = Math.floor((from + i) / each) % scale.length;
      out[from + i] = Math.fround(elements[i] - zeros[slice]) * scale[slice];
    }
  };
  if (start === undefined) {
    convert((await readElements(tensor, file, bad)) as Quantised, 0);
    return out;
  }
  const width = Elements.BYTES_PER_ELEMENT;
  for (let from = 0; from < count; from += PIECE) {
    const { buffer } = await file.read(start + from * width, Math.min(PIECE, count - from) * width);
    convert(new Elements(buffer), from);
  }
  return out;
}
