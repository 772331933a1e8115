/**
 * A program run several times in one call: an ONNX Loop whose carried values are the states, so that on a device they stay there
 * from step to step. Feeds come stacked, an axis of steps before all others, and results go so.
 */
import { S3aError } from '../errors.ts';
import type { Program, Tensor } from './graph.ts';
import { type OnnxOptions, type OnnxValue, onnxGraph } from './onnx.ts';
import {
  externalTensorProto,
  graphProto,
  type Message,
  modelProto,
  nodeProto,
  sequenceInfoProto,
  tensorProto,
  valueInfoProto,
} from './proto.ts';

/** The program as its caller sees it: feeds and results have a leading axis of that many steps. */
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

/**
 * The ONNX model that runs a program `steps` times; inputs and outputs are those of `stackedProgram`.
 * States that the program does not replace are read from outside of the loop and are not copied.
 */
export function toLoopOnnx(program: Program, steps: number, options: OnnxOptions = {}): Uint8Array {
  const { sequence, frozen = new Set<string>() } = options;
  const graph = onnxGraph(program, options);
  const outer = stackedProgram(program, steps);
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
  const outside = (name: string, { dtype, shape }: Tensor): Message => valueInfoProto(name, dtype, shape);
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
    inputs: [':steps', ':on', ...carried],
    outputs: [...carried.map(next), ...results],
    attributes: { body: { graph: body } },
  });
  const first = sequence === undefined ? [] : [nodeProto({ type: 'SequenceEmpty', inputs: [], outputs: [sequence] })];
  const count = BigInt64Array.of(BigInt(steps));
  return modelProto({
    nodes: [...first, loop],
    initializers: [
      tensorProto(':steps', 'int64', [], new Uint8Array(count.buffer)),
      tensorProto(':on', 'bool', [], Uint8Array.of(1)),
      ...[...frozen].map(name => {
        const { dtype, shape } = program.inputs.get(name)!;
        return externalTensorProto(name, dtype, shape, name);
      }),
    ],
    inputs: [...outer.inputs].filter(([name]) => !frozen.has(name)).map(([name, x]) => outside(name, x)),
    outputs: [
      ...(sequence === undefined ? [] : [sequenceInfoProto(sequence, 'float32')]),
      ...[...outer.outputs].map(([name, y]) => outside(program.inputs.has(name) ? next(name) : name, y)),
    ],
  });
}
