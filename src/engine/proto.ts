/** Writes the few protocol-buffer messages of ONNX (onnx.proto3) that the engine needs. */

/** A growing protocol-buffer message. */
export class Message {
  #bytes = new Uint8Array(256);
  #length = 0;

  /** A varint field; negative numbers take ten bytes, as int64 does. */
  int(field: number, value: number | bigint): this {
    this.#varint((field << 3) | 0);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5);
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** The start of a bytes field; its `length` bytes come after what this message holds by then. */
  start(field: number, length: number): this {
    this.#varint((field << 3) | 2);
    this.#varint(length);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.start(field, value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.finish());
    this.#bytes = grown;
  }

  #varint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    this.#reserve(10);
    while (rest > 127n) {
      this.#bytes[this.#length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }
}

/** TensorProto.DataType. */
export const DATA_TYPE = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
} as const;

type ElementType = keyof typeof DATA_TYPE;

/** A value of a node's attribute; a float is told from an int by its wrapper, and a graph is one. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly graph: Message };

/** A dimension: a fixed extent, or the name of a free one. */
export type Dimension = number | string;

/** A constant with its bytes, in C order and little-endian. */
export function tensorProto(name: string, type: ElementType, dims: readonly number[], raw: Uint8Array): Message {
  return tensorStart(name, type, dims).bytes(9, raw);
}

/** A tensor but for its elements, which follow in field 9 or lie in another file (fields 13 and 14). */
export function tensorStart(name: string, type: ElementType, dims: readonly number[]): Message {
  const message = new Message();
  for (const dim of dims) message.int(1, dim);
  return message.int(2, DATA_TYPE[type]).string(8, name);
}

/** A tensor whose elements are all of another file. */
export function externalTensorProto(name: string, type: ElementType, dims: readonly number[], file: string): Message {
  const location = new Message().string(1, 'location').string(2, file);
  return tensorStart(name, type, dims).message(13, location).int(14, 1);
}

/** An input or output; a dimension that is a name is free. */
export function valueInfoProto(name: string, type: ElementType, dims: readonly Dimension[]): Message {
  const shape = new Message();
  for (const dim of dims) {
    shape.message(1, typeof dim === 'number' ? new Message().int(1, dim) : new Message().string(2, dim));
  }
  const tensor = new Message().int(1, DATA_TYPE[type]).message(2, shape);
  return new Message().string(1, name).message(2, new Message().message(1, tensor));
}

/** A value that is a sequence of tensors of any shapes. */
export function sequenceInfoProto(name: string, type: ElementType): Message {
  const element = new Message().message(1, new Message().int(1, DATA_TYPE[type]));
  return new Message().string(1, name).message(2, new Message().message(4, new Message().message(1, element)));
}

/** An attribute of a node by the type of its value: a number is an integer, a list one of integers. */
export function attributeProto(name: string, value: AttributeValue): Message {
  const message = new Message().string(1, name);
  if (typeof value === 'number') return message.int(3, value).int(20, 2);
  if (typeof value === 'string') return message.string(4, value).int(20, 3);
  if ('graph' in value) return message.message(6, value.graph).int(20, 5);
  if ('float' in value) return message.float(2, value.float).int(20, 1);
  for (const item of value) message.int(8, item);
  return message.int(20, 7);
}

export interface NodeFields {
  type: string;
  name?: string;
  domain?: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, AttributeValue>>;
}

/** A node. */
export function nodeProto({ type, name, domain, inputs, outputs, attributes = {} }: NodeFields): Message {
  const message = new Message();
  for (const name of inputs) message.string(1, name);
  for (const name of outputs) message.string(2, name);
  if (name !== undefined) message.string(3, name);
  message.string(4, type);
  for (const [name, value] of Object.entries(attributes)) message.message(5, attributeProto(name, value));
  return domain ? message.string(7, domain) : message;
}

export interface GraphFields {
  /** Default `OPSET`. */
  opset?: number;
  /** Of operators beside ONNX's own and com.microsoft. */
  domains?: readonly string[];
  nodes: readonly Message[];
  initializers: readonly Message[];
  inputs: readonly Message[];
  outputs: readonly Message[];
}

/** ONNX opset of every graph: the first with Gelu; ONNX Runtime has had it since 1.17. */
export const OPSET = 20;

/**
 * Opset of graphs for the CUDA provider. ONNX Runtime looks a kernel up by the version that the opset gives its operator; those of 18 the
 * provider has had for long, while the later versions of some (Pad, Equal, AveragePool, ReduceMax) came to providers one by one.
 */
export const CUDA_OPSET = 18;

/** A graph, of a model or inside a node. */
export function graphProto({ nodes, initializers, inputs, outputs }: Omit<GraphFields, 'domains' | 'opset'>): Message {
  const graph = new Message();
  for (const node of nodes) graph.message(1, node);
  graph.string(2, 's3a');
  for (const initializer of initializers) graph.message(5, initializer);
  for (const value of inputs) graph.message(11, value);
  for (const value of outputs) graph.message(12, value);
  return graph;
}

/** The bytes of a model. */
export function modelProto({ opset = OPSET, domains = [], ...graph }: GraphFields): Uint8Array {
  const model = new Message()
    .int(1, 9) // IR version of opset 20
    .string(2, 's3a')
    .message(7, graphProto(graph))
    .message(8, new Message().string(1, '').int(2, opset))
    .message(8, new Message().string(1, 'com.microsoft').int(2, 1));
  for (const domain of domains) model.message(8, new Message().string(1, domain).int(2, 1));
  return model.finish();
}
