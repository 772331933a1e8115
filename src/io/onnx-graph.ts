/** The graph of an ONNX file: its nodes with the attributes that tell what they do, its outputs and stored tensors. */
import type { S3aError } from '../errors.ts';
import { type OnnxTensor, readTensor } from './onnx-tensor.ts';
import type { Field, ProtobufReader } from './protobuf-reader.ts';

export interface OnnxNode {
  readonly type: string;
  readonly name: string;
  /** Empty for the operators of ONNX itself. */
  readonly domain: string;
  /** Names of values; empty where an optional one is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers and lists of them; attributes of other types are left out. */
  readonly attributes: ReadonlyMap<string, number | readonly number[]>;
}

export interface OnnxGraph {
  readonly nodes: OnnxNode[];
  readonly outputs: string[];
  /** Initialisers, and the values of Constant nodes under the names of their outputs. */
  readonly tensors: Map<string, OnnxTensor>;
}

const MAX_NAME = 1 << 16;
// A ViT-L with its text tower has some 4,000 nodes, 1,200 tensors and 11,000 names.
const MAX_NODES = 200_000;
const MAX_TENSORS = 200_000;
const MAX_NAMES = 2_000_000;
const MAX_LIST = 1 << 16;

/**
 * Reads the graph of the model in the bytes [0, size); no tensor's elements are read.
 * @throws what `bad` makes for a file that is not an ONNX model
 */
export async function readGraph(
  reader: ProtobufReader,
  size: number,
  bad: (what: string) => S3aError,
): Promise<OnnxGraph> {
  let graph: Field | undefined;
  let version = 0n;
  for await (const field of reader.fields(0, size)) {
    if (field.number === 1 && field.wire === 0) version = field.value;
    if (field.number === 7) {
      if (graph || field.wire !== 2) throw bad('it has more than one graph');
      graph = field;
    }
  }
  if (!graph || version < 1n || version > 1000n) throw bad('it has no graph');
  const result: OnnxGraph = { nodes: [], outputs: [], tensors: new Map() };
  const add = (tensor: OnnxTensor): void => {
    const { name } = tensor;
    if (result.tensors.size >= MAX_TENSORS) throw bad(`more than ${MAX_TENSORS} tensors`);
    if (result.tensors.has(name)) throw bad(`two tensors named ${JSON.stringify(name.slice(0, 200))}`);
    result.tensors.set(name, tensor);
  };
  let names = 0;
  for await (const field of reader.fields(graph.start, graph.end)) {
    if (![1, 5, 12].includes(field.number)) continue;
    if (field.wire !== 2) throw bad(`a part of the graph at byte ${field.start} is no message`);
    if (field.number === 5) add(await readTensor(reader, field.start, field.end, bad));
    if (field.number === 12) result.outputs.push(await nameOf(reader, field));
    if (field.number === 1) {
      if (result.nodes.length >= MAX_NODES) throw bad(`more than ${MAX_NODES} nodes`);
      const { node, value } = await readNode(reader, field, bad);
      names += node.inputs.length + node.outputs.length + node.attributes.size;
      if (names > MAX_NAMES || result.outputs.length > MAX_NAMES) throw bad(`more than ${MAX_NAMES} names`);
      result.nodes.push(node);
      if (value && node.type === 'Constant' && node.outputs.length === 1)
        add(await readTensor(reader, value.start, value.end, bad, node.outputs[0]));
    }
  }
  return result;
}

/** The nodes that take each value. */
export function usersOf(nodes: readonly OnnxNode[]): Map<string, OnnxNode[]> {
  const users = new Map<string, OnnxNode[]>();
  for (const node of nodes) {
    for (const name of new Set(node.inputs)) {
      const list = users.get(name);
      if (list) list.push(node);
      else users.set(name, [node]);
    }
  }
  return users;
}

/** The name of a ValueInfoProto. */
async function nameOf(reader: ProtobufReader, value: Field): Promise<string> {
  for await (const field of reader.fields(value.start, value.end))
    if (field.number === 1) return reader.text(field, MAX_NAME);
  return '';
}

async function readNode(
  reader: ProtobufReader,
  at: Field,
  bad: (what: string) => S3aError,
): Promise<{ node: OnnxNode; value: Field | undefined }> {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, number | readonly number[]>();
  const texts = { type: '', name: '', domain: '' };
  let value: Field | undefined;
  for await (const field of reader.fields(at.start, at.end)) {
    if (field.number === 1) inputs.push(await reader.text(field, MAX_NAME));
    if (field.number === 2) outputs.push(await reader.text(field, MAX_NAME));
    if (field.number === 3) texts.name = await reader.text(field, MAX_NAME);
    if (field.number === 4) texts.type = await reader.text(field, MAX_NAME);
    if (field.number === 7) texts.domain = await reader.text(field, MAX_NAME);
    if (field.number === 5) {
      const attribute = await readAttribute(reader, field, bad);
      if (attribute.tensor && attribute.name === 'value') value = attribute.tensor;
      if (attribute.value !== undefined) attributes.set(attribute.name, attribute.value);
    }
    if (inputs.length + outputs.length + attributes.size > MAX_NAMES) throw bad(`more than ${MAX_NAMES} names`);
  }
  const domain = texts.domain === 'ai.onnx' ? '' : texts.domain;
  return { node: { ...texts, domain, inputs, outputs, attributes }, value };
}

interface Attribute {
  name: string;
  value: number | readonly number[] | undefined;
  tensor: Field | undefined;
}

async function readAttribute(reader: ProtobufReader, at: Field, bad: (what: string) => S3aError): Promise<Attribute> {
  const attribute: Attribute = { name: '', value: undefined, tensor: undefined };
  const list: number[] = [];
  let type = 0;
  for await (const field of reader.fields(at.start, at.end)) {
    if (field.number === 1) attribute.name = await reader.text(field, MAX_NAME);
    if (field.number === 3) attribute.value = signed(field.value);
    if (field.number === 5 && field.wire === 2) attribute.tensor = field;
    if (field.number === 8) for (const item of await reader.varints(field, MAX_LIST)) list.push(signed(item));
    if (field.number === 20) type = signed(field.value);
    if (list.length > MAX_LIST) throw bad(`a list of more than ${MAX_LIST} numbers at byte ${at.start}`);
  }
  return { ...attribute, value: type === 7 ? list : type === 2 ? (attribute.value ?? 0) : undefined };
}

function signed(value: bigint): number {
  return Number(BigInt.asIntN(64, value));
}
