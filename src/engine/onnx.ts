/** Turns a program into the bytes of an ONNX model: each operator's spelling stands here once. */
import { S3aError } from '../errors.ts';
import { convWeight, lowerAdjoints } from './conv-adjoints.ts';
import { BLOCKS_DOMAIN, fitsBlocks } from './conv-block-steps.ts';
import { ChannelBlocks } from './conv-blocks.ts';
import { convAsGemm, prefersGemm } from './conv-gemm.ts';
import type { Node, OperatorName, Operators, Program, Tensor, TensorData } from './graph.ts';
import type { NodeWriter } from './node-writer.ts';
import {
  type AttributeValue,
  DATA_TYPE,
  type Dimension,
  externalTensorProto,
  modelProto,
  type NodeFields,
  nodeProto,
  sequenceInfoProto,
  tensorProto,
  valueInfoProto,
} from './proto.ts';
import { sizeOf } from './shape.ts';

/** ONNX names of a program's outputs: one that replaces a state input cannot share its name. */
export function outputName(program: Program, name: string): string {
  return program.inputs.has(name) ? `${name}:next` : name;
}

/**
 * An extent that the model leaves free: where a traced shape has it, or a multiple of it, any other may stand. Trace with a
 * number that nothing else in the program is a multiple of, such as a large prime. An input has it as one of its extents.
 */
export interface FreeExtent {
  readonly extent: number;
  /** How the file names the axis. */
  readonly name: string;
}

export interface OnnxOptions {
  readonly free?: readonly FreeExtent[];
  /** Only operators of ONNX's own domain, for runtimes that lack ONNX Runtime's. */
  readonly standard?: boolean;
  /** Without what ONNX Runtime's WebGPU provider leaves to the CPU: transposes and factors inside a batched product, LogSoftmax, OneHot. */
  readonly webgpu?: boolean;
  /** Nodes have names that begin with their place (`within`), for profiles. */
  readonly named?: boolean;
  /** States that are no inputs but constants, each in an external file of its own name. */
  readonly frozen?: ReadonlySet<string>;
  /**
   * For ONNX Runtime on the CPU of this machine, with the channels in a block of its convolutions if it has such
   * (channel-block.ts).
   */
  readonly cpu?: { readonly block: number | undefined };
  /** Name of one more output, before all others, which is an empty sequence (session-worker.ts says what for). */
  readonly sequence?: string;
}

/** An input or output of an ONNX graph. */
export interface OnnxValue {
  readonly name: string;
  readonly type: Tensor['dtype'];
  readonly dimensions: readonly Dimension[];
}

/** A constant of an ONNX graph. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: Tensor['dtype'];
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A program in ONNX's operators, before it becomes bytes. */
export interface OnnxGraph {
  readonly nodes: readonly NodeFields[];
  readonly constants: readonly OnnxConstant[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/**
 * The ONNX model (opset 20, some com.microsoft operators) that computes a program.
 * @throws S3aError GRAPH when a free extent is that of no input
 */
export function toOnnx(program: Program, options: OnnxOptions = {}): Uint8Array {
  const { nodes, constants, inputs, outputs } = onnxGraph(program, options);
  const { sequence, frozen = new Set<string>() } = options;
  const value = ({ name, type, dimensions }: OnnxValue) => valueInfoProto(name, type, dimensions);
  return modelProto({
    domains: options.cpu?.block === undefined ? [] : [BLOCKS_DOMAIN],
    nodes: [
      ...(sequence === undefined ? [] : [nodeProto({ type: 'SequenceEmpty', inputs: [], outputs: [sequence] })]),
      ...nodes.map(nodeProto),
    ],
    initializers: [
      ...constants.map(({ name, type, shape, data }) => tensorProto(name, type, shape, bytesOf(data))),
      ...[...frozen].map(name => {
        const { dtype, shape } = program.inputs.get(name)!;
        return externalTensorProto(name, dtype, shape, name);
      }),
    ],
    inputs: inputs.filter(({ name }) => !frozen.has(name)).map(value),
    outputs: [...(sequence === undefined ? [] : [sequenceInfoProto(sequence, 'float32')]), ...outputs.map(value)],
  });
}

/** The same as a graph; throws as `toOnnx`. */
export function onnxGraph(
  traced: Program,
  { free = [], standard = false, webgpu = false, named = false, frozen = new Set(), cpu }: OnnxOptions = {},
): OnnxGraph {
  const block = cpu?.block;
  const program = lowerAdjoints(
    traced,
    node => (cpu && node.operator === 'ConvWeight') || (block !== undefined && fitsBlocks(node, block)),
  );
  const writer = new Writer(program, free, { standard, webgpu, named, frozen }, block);
  const describe = (name: string, { dtype, shape }: Tensor): OnnxValue => ({
    name,
    type: dtype,
    dimensions: shape.map(n => free.find(({ extent }) => extent === n)?.name ?? n),
  });
  const inputs = [...program.inputs].map(([name, tensor]) => describe(name, tensor));
  const outputs: OnnxValue[] = [];
  const copies: [Tensor, string][] = [];
  for (const [name, tensor] of program.outputs) {
    const target = outputName(program, name);
    outputs.push(describe(target, tensor));
    // Only an input, a constant or a second name for one tensor needs a copy.
    if (tensor.source.kind !== 'node' || !writer.claim(tensor, target)) copies.push([tensor, target]);
  }
  for (const node of program.nodes) writer.node(node);
  for (const [tensor, target] of copies) writer.emit('Identity', [writer.name(tensor)], [target]);
  return { nodes: writer.nodes, constants: writer.constants, inputs, outputs };
}

function bytesOf({ buffer, byteOffset, byteLength }: TensorData): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

type Spelling<O extends OperatorName> = (writer: Writer, node: Node<O>, inputs: string[], outputs: string[]) => void;

class Writer implements NodeWriter {
  readonly nodes: NodeFields[] = [];
  readonly constants: OnnxConstant[] = [];
  readonly #names = new Map<Tensor, string>();
  readonly #known = new Map<string, string>();
  readonly #program: Program;
  readonly #free: readonly FreeExtent[];
  /** Whether only ONNX's own operators may be used. */
  readonly standard: boolean;
  /** Whether the model is for the WebGPU provider. */
  readonly webgpu: boolean;
  /** Names of states that are constants. */
  readonly frozen: ReadonlySet<string>;
  readonly #named: boolean;
  readonly #blocks: ChannelBlocks | undefined;
  /** Of the node that is being written. */
  #place = '';
  #counter = 0;

  constructor(
    program: Program,
    free: readonly FreeExtent[],
    { standard, webgpu, named, frozen }: Required<Pick<OnnxOptions, 'standard' | 'webgpu' | 'named' | 'frozen'>>,
    block: number | undefined,
  ) {
    this.frozen = frozen;
    this.#program = program;
    this.#free = free;
    this.standard = standard;
    this.webgpu = webgpu;
    this.#named = named;
    this.#blocks = block === undefined ? undefined : new ChannelBlocks(this, block, program.nodes);
  }

  /** Whether all extents are as traced. */
  get fixed(): boolean {
    return this.#free.length === 0;
  }

  name(tensor: Tensor): string {
    if (tensor.source.kind === 'input') return tensor.source.name;
    const known = this.#names.get(tensor);
    if (known) return known;
    const { source } = tensor;
    const name = source.kind === 'constant' ? this.constant(tensor.dtype, tensor.shape, source.data) : this.fresh();
    this.#names.set(tensor, name);
    if (this.#blocks?.has(tensor)) this.#blocks.unblock(tensor, name);
    return name;
  }

  /** Gives a tensor its name before it is written; false when it has one. */
  claim(tensor: Tensor, name: string): boolean {
    if (this.#names.has(tensor)) return false;
    this.#names.set(tensor, name);
    return true;
  }

  fresh(): string {
    return `:${this.#counter++}`;
  }

  constant(type: Tensor['dtype'], shape: readonly number[], data: TensorData): string {
    const make = (): string => {
      const name = this.fresh();
      this.constants.push({ name, type, shape, data });
      return name;
    };
    return data.byteLength <= 256 ? this.#once(`${type}[${shape}]${bytesOf(data)}`, make) : make();
  }

  #once(key: string, make: () => string): string {
    const name = this.#known.get(key) ?? make();
    this.#known.set(key, name);
    return name;
  }

  scalar(type: Tensor['dtype'], value: number): string {
    if (type === 'float16') {
      return this.#once(`half ${value}`, () => {
        const half = this.fresh();
        this.emit('Cast', [this.scalar('float32', value)], [half], { to: DATA_TYPE.float16 });
        return half;
      });
    }
    return this.constant(type, [], type === 'float64' ? Float64Array.of(value) : Float32Array.of(value));
  }

  /** A stack of matrices, transposed. */
  turned(x: string, { shape }: Tensor): string {
    const perm = shape.map((_, i) => i);
    const [row, column] = perm.splice(-2);
    const to = this.fresh();
    this.emit('Transpose', [x], [to], { perm: [...perm, column, row] });
    return to;
  }

  /** A one-dimensional int64 constant, the form in which ONNX takes shapes and axes. */
  ints(values: readonly number[]): string {
    return this.constant('int64', [values.length], BigInt64Array.from(values, BigInt));
  }

  /** The shape that a Reshape takes: −1 stands for one free extent. */
  shape(shape: readonly number[]): string {
    const free = shape.filter(n => this.#isFree(n));
    return free.length > 1 ? this.sizes(shape) : this.ints(shape.map(n => (this.#isFree(n) ? -1 : n)));
  }

  /** Extents, or positions on an axis, of which the free ones are computed when the model runs. */
  sizes(values: readonly number[]): string {
    if (!values.some(n => this.#isFree(n))) return this.ints(values);
    return this.#once(`sizes ${values}`, () => {
      const parts = values.map(n => (this.#isFree(n) ? this.#size(n) : this.ints([n])));
      if (parts.length === 1) return parts[0];
      const joined = this.fresh();
      this.emit('Concat', parts, [joined], { axis: 0 });
      return joined;
    });
  }

  #isFree(n: number): boolean {
    return n > 0 && this.#free.some(({ extent }) => n % extent === 0);
  }

  /** A product of free extents and a number, int64 [1]. */
  #size(n: number): string {
    return this.#once(`size ${n}`, () => {
      const free = this.#free.find(({ extent }) => n % extent === 0);
      if (!free) return this.ints([n]);
      if (n === free.extent) return this.#extent(free);
      const product = this.fresh();
      this.emit('Mul', [this.#size(free.extent), this.#size(n / free.extent)], [product]);
      return product;
    });
  }

  #extent({ extent, name }: FreeExtent): string {
    for (const [input, { shape }] of this.#program.inputs) {
      const axis = shape.indexOf(extent);
      if (axis < 0) continue;
      const size = this.fresh();
      this.emit('Shape', [input], [size], { start: axis, end: axis + 1 });
      return size;
    }
    throw new S3aError('GRAPH', `no input has the free extent '${name}'`);
  }

  emit(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, AttributeValue> = {},
    domain?: string,
  ): void {
    const name = this.#named ? `${this.#place}/${type}/${this.nodes.length}` : undefined;
    this.nodes.push({ type, name, domain, inputs, outputs, attributes });
  }

  node(node: Node): void {
    this.#place = node.place;
    if (!this.#blocks?.write(node)) {
      const inputs = node.inputs.map(x => this.name(x));
      this.spell(
        node,
        inputs,
        node.outputs.map(y => this.name(y)),
      );
    } else {
      // What has its name already is awaited under it.
      for (const y of node.outputs) {
        const name = this.#names.get(y);
        if (name !== undefined && this.#blocks.has(y)) this.#blocks.unblock(y, name);
      }
    }
  }

  spell(node: Node, inputs: string[], outputs: string[]): void {
    const spelling = (spellings as Partial<Record<OperatorName, Spelling<OperatorName>>>)[node.operator];
    if (spelling) spelling(this, node, inputs, outputs);
    else this.emit(node.operator, inputs, outputs);
  }
}

const withAxis: Spelling<'Softmax' | 'LogSoftmax' | 'Concat' | 'Gather'> = (w, node, inputs, outputs) =>
  w.emit(node.operator, inputs, outputs, { axis: node.attributes.axis });

const reduction: Spelling<'ReduceSum' | 'ReduceMean' | 'ReduceMax'> = (w, node, [x], outputs) => {
  const { axes, keepdims } = node.attributes;
  w.emit(node.operator, [x, w.ints(axes)], outputs, { keepdims: Number(keepdims) });
};

const pooling: Spelling<'AveragePool' | 'MaxPool'> = (w, node, inputs, outputs) => {
  const { kernel, strides, pads } = node.attributes;
  const attributes: Record<string, AttributeValue> = { kernel_shape: kernel, strides, pads };
  if (node.operator === 'AveragePool') attributes.count_include_pad = 1;
  w.emit(node.operator, inputs, outputs, attributes);
};

/** Operators that are more than their name applied to their inputs. */
const spellings: {
  readonly [O in OperatorName as Record<never, never> extends Operators[O] ? never : O]: Spelling<O>;
} = {
  Gelu: (w, node, inputs, outputs) => w.emit('Gelu', inputs, outputs, { approximate: node.attributes.approximate }),
  QuickGelu: (w, node, [x], outputs) => {
    const { alpha } = node.attributes;
    if (!w.standard) return w.emit('QuickGelu', [x], outputs, { alpha: { float: alpha } }, 'com.microsoft');
    const [scaled, gate] = [w.fresh(), w.fresh()];
    w.emit('Mul', [x, w.scalar(node.inputs[0].dtype, alpha)], [scaled]);
    w.emit('Sigmoid', [scaled], [gate]);
    w.emit('Mul', [x, gate], outputs);
  },
  Cast: (w, node, inputs, outputs) => w.emit('Cast', inputs, outputs, { to: DATA_TYPE[node.attributes.to] }),
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
  ReduceSum: reduction,
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
    w.emit('Add', [variance, w.scalar('float32', node.attributes.epsilon)], [safe]);
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
  ArgMax: (w, node, inputs, outputs) =>
    w.emit('ArgMax', inputs, outputs, { axis: node.attributes.axis, keepdims: 0, select_last_index: 0 }),
  TopK: (w, node, [x], outputs) => w.emit('TopK', [x, w.ints([node.attributes.k])], outputs, { axis: -1 }),
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
