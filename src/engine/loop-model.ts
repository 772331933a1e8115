/**
 * A program run several times in one call: an ONNX Loop whose carried values are the states, so that on a device they stay there
 * from step to step. Feeds come stacked, an axis of steps before all others, and results go so. How many steps a call has is
 * told to the call; the model is made for as many as one may have.
 */
import { S3aError } from '../errors.ts';
import type { OperatorName, Program, Tensor, TensorData } from './graph.ts';
import { type OnnxOptions, type OnnxValue, onnxGraph } from './onnx.ts';
import {
  CUDA_OPSET,
  externalTensorProto,
  graphProto,
  type Message,
  modelProto,
  nodeProto,
  sequenceInfoProto,
  tensorProto,
  valueInfoProto,
} from './proto.ts';
import { type Shape, sizeOf } from './shape.ts';

/** The input that says how many steps a call has, an int64 scalar. */
export const STEPS = ':steps';

/** An input as a session plans it. */
interface FedInput {
  readonly name: string;
  /** Of a feed the shape of the largest stack. */
  readonly shape: Shape;
  readonly state: boolean;
}

/**
 * Steps of a call, as its stacks say; as many as there may be where nothing is fed or stacks are of no whole number of steps
 * from 1 to that, which a check of lengths finds.
 */
export function stepsFed(data: Record<string, TensorData>, inputs: readonly FedInput[], most: number): number {
  const first = inputs.find(({ state, name }) => !state && Object.hasOwn(data, name));
  const count = first ? data[first.name]?.length / sizeOf(first.shape.slice(1)) : most;
  return Number.isInteger(count) && count >= 1 && count <= most ? count : most;
}

/** The shape of a stack of some steps, from that of the largest. */
export function stackOf(count: number, shape: Shape): Shape {
  return [count, ...shape.slice(1)];
}

/** The program as its caller sees it: feeds and results have a leading axis of that many steps, or of fewer in a call. */
export function stackedProgram(program: Program, steps: number): Program {
  if (!(Number.isInteger(steps) && steps >= 1)) {
    throw new S3aError('STEPS', `cannot run ${steps} steps a call`, 'Use an integer of 1 or more.');
  }
  const stacked = (tensor: Tensor): Tensor => ({ ...tensor, shape: [steps, ...tensor.shape] });
  const isState = ({ source }: Tensor): boolean => source.kind === 'input' && source.state;
  return {
    nodes: program.nodes,
    inputs: new Map([...program.inputs].map(([name, x]) => [name, isState(x) ? x : stacked(x)])),
    outputs: new Map([...program.outputs].map(([name, y]) => [name, program.inputs.has(name) ? y : stacked(y)])),
  };
}

/** Operators whose results are numbers of their own, whatever ONNX Runtime makes of them; others may return what they are given. */
const MAKERS: ReadonlySet<OperatorName> = new Set([
  ...(['Gemm', 'MatMul', 'LayerNormalization', 'Conv', 'TopK', 'ArgMax'] as const),
  ...(['ReduceSum', 'ReduceMean', 'ReduceMax'] as const),
]);

/**
 * States whose last values may be written over the first: a loop writes them out when all its steps are done, when nothing reads
 * the first ones any more but results, which it writes after them and which may be states.
 */
export function overwrittenStates({ inputs, outputs }: Program): Set<string> {
  const read = new Set([...outputs].filter(([name]) => !inputs.has(name)).map(([, result]) => result));
  for (const { source } of read) {
    if (source.kind !== 'node' || MAKERS.has(source.node.operator)) continue;
    for (const x of source.node.inputs) read.add(x);
  }
  return new Set([...outputs.keys()].filter(name => inputs.has(name) && !read.has(inputs.get(name)!)));
}

/**
 * The ONNX model that runs a program as often as its input `STEPS` says; the other inputs and the outputs are those of
 * `stackedProgram`, with an axis of steps that is free. States that the program does not replace are read from outside of the loop and are not copied.
 */
export function toLoopOnnx(program: Program, options: OnnxOptions = {}): Uint8Array {
  const { sequence, frozen = new Set<string>() } = options;
  const graph = onnxGraph(program, options);
  const isFed = (name: string): boolean => {
    const { source } = program.inputs.get(name)!;
    return source.kind === 'input' && !source.state;
  };
  const carried = [...program.outputs.keys()].filter(name => program.inputs.has(name));
  const results = [...program.outputs.keys()].filter(name => !program.inputs.has(name));
  const constant = new Set([...program.inputs.keys()].filter(name => !isFed(name) && !carried.includes(name)));
  // No name inside may be one outside, but for what is read from there.
  const inner = (name: string): string => (constant.has(name) || name === '' ? name : `:step.${name}`);
  const known = new Map([...graph.inputs, ...graph.outputs].map(value => [value.name, value]));
  const next = (name: string): string => `${name}:next`;
  const value = ({ name, type, dimensions }: OnnxValue, as = name): Message => valueInfoProto(as, type, dimensions);
  const own = (name: string): Message => value(known.get(name)!, inner(name));
  const outside = (name: string, { dtype, shape }: Tensor, stacked: boolean): Message =>
    valueInfoProto(name, dtype, stacked ? ['steps', ...shape] : shape);
  const body = graphProto({
    nodes: [
      nodeProto({ type: 'Identity', inputs: [':step.on'], outputs: [':step.next'] }),
      ...[...program.inputs.keys()].filter(isFed).map(name =>
        // The row of a stack that belongs to the step, with the axis of steps gone.
        nodeProto({ type: 'Gather', inputs: [name, ':step.i'], outputs: [inner(name)], attributes: { axis: 0 } }),
      ),
      ...graph.nodes.map(({ inputs, outputs, ...node }) =>
        nodeProto({ ...node, inputs: inputs.map(inner), outputs: outputs.map(inner) }),
      ),
    ],
    initializers: graph.constants.map(({ name, type, shape, data }) =>
      tensorProto(inner(name), type, shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
    ),
    inputs: [valueInfoProto(':step.i', 'int64', []), valueInfoProto(':step.on', 'bool', []), ...carried.map(own)],
    outputs: [valueInfoProto(':step.next', 'bool', []), ...[...carried.map(next), ...results].map(own)],
  });
  const loop = nodeProto({
    type: 'Loop',
    inputs: [STEPS, ':on', ...carried],
    outputs: [...carried.map(next), ...results],
    attributes: { body: { graph: body } },
  });
  const first = sequence === undefined ? [] : [nodeProto({ type: 'SequenceEmpty', inputs: [], outputs: [sequence] })];
  return modelProto({
    opset: options.cuda ? CUDA_OPSET : undefined,
    nodes: [...first, loop],
    initializers: [
      tensorProto(':on', 'bool', [], Uint8Array.of(1)),
      ...[...frozen].map(name => {
        const { dtype, shape } = program.inputs.get(name)!;
        return externalTensorProto(name, dtype, shape, name);
      }),
    ],
    inputs: [
      valueInfoProto(STEPS, 'int64', []),
      ...[...program.inputs].filter(([name]) => !frozen.has(name)).map(([name, x]) => outside(name, x, isFed(name))),
    ],
    outputs: [
      ...(sequence === undefined ? [] : [sequenceInfoProto(sequence, 'float32')]),
      ...carried.map(name => outside(next(name), program.outputs.get(name)!, false)),
      ...results.map(name => outside(name, program.outputs.get(name)!, true)),
    ],
  });
}
