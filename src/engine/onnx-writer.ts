/** Writes nodes one after the other: their names, constants that are written once, and what convolutions in blocks take over. */
import { ChannelBlocks } from './conv-blocks.ts';
import { type FreeExtent, type FreeSizes, freeSizes } from './free-extents.ts';
import type { Node, Program, Tensor, TensorData } from './graph.ts';
import { hostName, hostScalars } from './host-scalars.ts';
import type { NodeWriter } from './node-writer.ts';
import type { OnnxOptions } from './onnx.ts';
import { type AttributeValue, DATA_TYPE, type NodeFields } from './proto.ts';
import { spell } from './spellings.ts';
import { bytesOf } from './tensor-data.ts';

/** A constant of an ONNX graph. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: Tensor['dtype'];
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Collects the nodes and constants of an ONNX graph, and names what it writes. */
export class OnnxWriter implements NodeWriter, FreeSizes {
  readonly nodes: NodeFields[] = [];
  readonly constants: OnnxConstant[] = [];
  readonly #names = new Map<Tensor, string>();
  readonly #known = new Map<string, string>();
  readonly #sizes: FreeSizes;
  /** Whether all extents are as traced. */
  readonly fixed: boolean;
  /** Whether only ONNX's own operators may be used. */
  readonly standard: boolean;
  /** Whether the model is for the WebGPU provider. */
  readonly webgpu: boolean;
  /** Whether it is for the CUDA provider. */
  readonly cuda: boolean;
  /** Names of states that are constants. */
  readonly frozen: ReadonlySet<string>;
  readonly #named: boolean;
  readonly #blocks: ChannelBlocks | undefined;
  readonly #host: ReadonlySet<Node>;
  /** Of the node that is being written. */
  #place = '';
  #onHost = false;
  #hosts = 0;
  #counter = 0;

  constructor(
    program: Program,
    free: readonly FreeExtent[],
    { standard, webgpu, cuda, named, frozen }: Required<Omit<OnnxOptions, 'free' | 'cpu' | 'sequence'>>,
    block: number | undefined,
  ) {
    this.frozen = frozen;
    this.fixed = free.length === 0;
    this.#sizes = freeSizes(this, program.inputs, free);
    this.standard = standard;
    this.webgpu = webgpu;
    this.cuda = cuda;
    this.#named = named;
    this.#host = webgpu ? hostScalars(program) : new Set();
    this.#blocks = block === undefined ? undefined : new ChannelBlocks(this, block, program.nodes);
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
    return data.byteLength <= 256 ? this.once(`${type}[${shape}]${bytesOf(data)}`, make) : make();
  }

  /** The name that was made for a key, which is made once. */
  once(key: string, make: () => string): string {
    const name = this.#known.get(key) ?? make();
    this.#known.set(key, name);
    return name;
  }

  scalar(type: Tensor['dtype'], value: number): string {
    if (type === 'float16') {
      return this.once(`half ${value}`, () => {
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

  shape(shape: readonly number[]): string {
    return this.#sizes.shape(shape);
  }

  sizes(values: readonly number[]): string {
    return this.#sizes.sizes(values);
  }

  emit(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, AttributeValue> = {},
    domain?: string,
  ): void {
    const place = this.#named ? `${this.#place}/${type}/${this.nodes.length}` : undefined;
    const name = this.#onHost ? hostName(this.#hosts++) : place;
    this.nodes.push({ type, name, domain, inputs, outputs, attributes });
  }

  /** Writes a node under the names of its tensors. */
  node(node: Node): void {
    this.#place = node.place;
    this.#onHost = this.#host.has(node);
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
    this.#onHost = false;
  }

  spell(node: Node, inputs: string[], outputs: string[]): void {
    spell(this, node, inputs, outputs);
  }
}
