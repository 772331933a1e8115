/** Turns a program into ONNX's operators, and these into the bytes of a model. */
import { lowerAdjoints } from './conv-adjoints.ts';
import { BLOCKS_DOMAIN, fitsBlocks } from './conv-block-steps.ts';
import type { FreeExtent } from './free-extents.ts';
import type { Program, Tensor } from './graph.ts';
import { type OnnxConstant, OnnxWriter } from './onnx-writer.ts';
import {
  CUDA_OPSET,
  type Dimension,
  externalTensorProto,
  modelProto,
  type NodeFields,
  nodeProto,
  sequenceInfoProto,
  tensorProto,
  valueInfoProto,
} from './proto.ts';
import { bytesOf } from './tensor-data.ts';

/** ONNX names of a program's outputs: one that replaces a state input cannot share its name. */
export function outputName(program: Program, name: string): string {
  return program.inputs.has(name) ? `${name}:next` : name;
}

/** What a model is for. To export one, `free` and `standard` are enough; sessions use the others. */
export interface OnnxOptions {
  /** Extents that the model leaves open, such as the batch. */
  readonly free?: readonly FreeExtent[];
  /** Only operators of ONNX's own domain, for runtimes that lack ONNX Runtime's. */
  readonly standard?: boolean;
  /** Without what ONNX Runtime's WebGPU provider leaves to the CPU: transposes and factors inside a batched product, LogSoftmax, OneHot. */
  readonly webgpu?: boolean;
  /** In an opset of which ONNX Runtime's CUDA provider has all that is used. */
  readonly cuda?: boolean;
  /** Nodes have names that begin with their place (`within`), for profiles. */
  readonly named?: boolean;
  /** States that are no inputs but constants, each in an external file of its own name. */
  readonly frozen?: ReadonlySet<string>;
  /**
   * For ONNX Runtime on the CPU of this machine, with the channels in a block of its convolutions if it has such
   * (channel-block.ts).
   */
  readonly cpu?: { readonly block: number | undefined };
  /** Name of one more output, before all others, which is an empty sequence (uncopied.ts says what for). */
  readonly sequence?: string;
}

/** An input or output of an ONNX graph. */
export interface OnnxValue {
  readonly name: string;
  readonly type: Tensor['dtype'];
  readonly dimensions: readonly Dimension[];
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
    opset: options.cuda ? CUDA_OPSET : undefined,
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
  {
    free = [],
    standard = false,
    webgpu = false,
    cuda = false,
    named = false,
    frozen = new Set(),
    cpu,
  }: OnnxOptions = {},
): OnnxGraph {
  const block = cpu?.block;
  const program = lowerAdjoints(
    traced,
    node => (cpu && node.operator === 'ConvWeight') || (block !== undefined && fitsBlocks(node, block)),
  );
  const writer = new OnnxWriter(program, free, { standard, webgpu, cuda, named, frozen }, block);
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
