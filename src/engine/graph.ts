/**
 * The traced graph: tensors that remember the node that makes them, and programs, which are named outputs.
 *
 * Nothing is registered anywhere: a program is what can be reached from its outputs, so a node that no output needs
 * (a gradient nobody asked for) costs nothing.
 */
import { S3aError } from '../errors.ts';
import type { OperatorName, Operators } from './operators.ts';
import { type Shape, showShape, sizeOf } from './shape.ts';
import { ARRAYS, kindOf } from './tensor-data.ts';

export type DType = 'float32' | 'float64' | 'float16' | 'int64' | 'int32' | 'uint8' | 'bool';

/** The JavaScript arrays that carry tensors; float16 travels as its bits. */
export type TensorData = Float32Array | Float64Array | Uint16Array | BigInt64Array | Int32Array | Uint8Array;

export type { OperatorName, Operators } from './operators.ts';

/** One application of an operator. */
export interface Node<O extends OperatorName = OperatorName> {
  readonly operator: O;
  readonly inputs: readonly Tensor[];
  readonly attributes: Operators[O];
  readonly outputs: readonly Tensor[];
  /** The names of the `within` calls around the trace, outermost first, joined by slashes. */
  readonly place: string;
}

type Source =
  | { readonly kind: 'input'; readonly name: string; readonly state: boolean }
  | { readonly kind: 'constant'; readonly data: TensorData }
  | { readonly kind: 'node'; readonly node: Node; readonly index: number };

/** A value of static shape and type inside a graph; it holds no numbers. */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly source: Source;
}

/**
 * A tensor that is fed at every run.
 * @throws S3aError DTYPE for a type that is none, SHAPE for extents that are no positive integers
 */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  return fed(name, dtype, shape, false);
}

/**
 * A tensor that stays resident between runs (a weight, a moment). It is set once, and zero until then; a program output of the
 * same name replaces its value after each run. Throws as `input`.
 */
export function state(name: string, shape: Shape, dtype: DType = 'float32'): Tensor {
  return fed(name, dtype, shape, true);
}

/**
 * A tensor whose values are part of the graph: small tables, and the weights of a model that `toOnnx` writes. In a session weights
 * are better as `state`.
 * @param dtype default that of the array; uint8 for a Uint8Array and float16 for a Uint16Array, which holds its bits
 * @throws S3aError DTYPE when the array does not carry such elements, SHAPE when it has not as many as the shape
 */
export function constant(data: TensorData, shape: Shape, dtype: DType = dtypeOf(data)): Tensor {
  if (!(data instanceof ARRAYS[dtype] || data.constructor.name === ARRAYS[dtype].name)) {
    throw new S3aError('DTYPE', `a constant of ${dtype} takes a ${ARRAYS[dtype].name}, not ${kindOf(data)}`);
  }
  if (data.length !== sizeOf(shape)) {
    throw new S3aError('SHAPE', `constant of ${data.length} values does not fill shape ${showShape(shape)}`);
  }
  return { dtype, shape: [...shape], source: { kind: 'constant', data } };
}

/** A constant of shape []. Throws S3aError DTYPE for other types than float32, float64 and int32. */
export function scalar(value: number, dtype: DType = 'float32'): Tensor {
  if (dtype === 'float64') return constant(Float64Array.of(value), []);
  if (dtype === 'int32') return constant(Int32Array.of(value), []);
  if (dtype === 'float32') return constant(Float32Array.of(value), []);
  throw new S3aError('DTYPE', `a scalar constant of ${dtype} is not supported`, 'Use cast, or constant with an array.');
}

let place = '';

/**
 * Traces under a name, which profiles group nodes by; names nest. What `gradient` and the optimizers append has the names
 * `backward` and `update`.
 * @example
 * const z = within('teacher', () => visionTower(config, weights, pixels));
 */
export function within<T>(name: string, trace: () => T): T {
  const outer = place;
  place = outer === '' ? name : `${outer}/${name}`;
  try {
    return trace();
  } finally {
    place = outer;
  }
}

/** Appends a node and returns its outputs. Operators' constructors call this after checking shapes. */
export function apply<O extends OperatorName>(
  operator: O,
  inputs: readonly Tensor[],
  attributes: Operators[O],
  outputs: readonly { dtype: DType; shape: Shape }[],
): Tensor[] {
  const made: Tensor[] = [];
  const node: Node<O> = { operator, inputs, attributes, outputs: made, place };
  outputs.forEach(({ dtype, shape }, index) => {
    made.push({ dtype, shape, source: { kind: 'node', node: node as unknown as Node, index } });
  });
  return made;
}

/** Appends a node like another, at its place. */
export function applyAgain(
  node: Node,
  inputs: readonly Tensor[],
  attributes = node.attributes,
  outputs: readonly { dtype: DType; shape: Shape }[] = node.outputs,
): Tensor[] {
  const outer = place;
  place = node.place;
  try {
    return apply(node.operator, inputs, attributes, outputs);
  } finally {
    place = outer;
  }
}

/** Named outputs with everything they need, in an order in which they can run. */
export interface Program {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly nodes: readonly Node[];
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/**
 * The program that computes the given outputs.
 *
 * An output named like a `state` input is fed back into it after every run and must have its shape and type.
 * @throws S3aError GRAPH when there is no output or one is no tensor, two different inputs share a name, a name is empty or has
 * a colon (which marks the names that the engine makes), or an output cannot be fed back.
 */
export function program(outputs: Readonly<Record<string, Tensor>>): Program {
  if (Object.keys(outputs).length === 0) throw new S3aError('GRAPH', 'a program needs an output');
  for (const [name, output] of Object.entries(outputs)) {
    if (output?.source === undefined) throw new S3aError('GRAPH', `output '${name}' is ${kindOf(output)}, no tensor`);
  }
  const whole = reached(new Map(Object.entries(outputs)));
  const { inputs } = whole;
  for (const name of [...inputs.keys(), ...Object.keys(outputs)]) {
    if (name === '' || name.includes(':')) throw new S3aError('GRAPH', `'${name}' cannot name an input or output`);
  }
  for (const [name, tensor] of Object.entries(outputs)) {
    const target = inputs.get(name);
    if (!target) continue;
    if (target.source.kind === 'input' && !target.source.state) {
      throw new S3aError('GRAPH', `output '${name}' has the name of an input that is not state`);
    }
    if (target.dtype !== tensor.dtype || showShape(target.shape) !== showShape(tensor.shape)) {
      throw new S3aError(
        'GRAPH',
        `output '${name}' is ${tensor.dtype} ${showShape(tensor.shape)} and cannot replace the state ${target.dtype} ${showShape(target.shape)}`,
      );
    }
  }
  return whole;
}

/** The program of outputs whose names are the engine's own: they are not checked, so `s3a/engine` does not have it. */
export function reached(outputs: ReadonlyMap<string, Tensor>): Program {
  const inputs = new Map<string, Tensor>();
  const nodes = sortNodes([...outputs.values()]);
  for (const tensor of [...nodes.flatMap(node => node.inputs), ...outputs.values()]) {
    if (tensor.source.kind !== 'input') continue;
    const known = inputs.get(tensor.source.name);
    if (known && known !== tensor) {
      throw new S3aError('GRAPH', `two different inputs are named '${tensor.source.name}'`);
    }
    inputs.set(tensor.source.name, tensor);
  }
  return { inputs, nodes, outputs };
}

/** Every node the tensors need, producers before consumers (depth first, without recursion: graphs are deep). */
export function sortNodes(tensors: readonly Tensor[]): Node[] {
  const sorted: Node[] = [];
  const seen = new Set<Node>();
  const stack: { node: Node; next: number }[] = [];
  const visit = (tensor: Tensor): void => {
    if (tensor.source.kind !== 'node' || seen.has(tensor.source.node)) return;
    seen.add(tensor.source.node);
    stack.push({ node: tensor.source.node, next: 0 });
  };
  for (const tensor of tensors) {
    visit(tensor);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.node.inputs.length) {
        visit(top.node.inputs[top.next++]);
      } else {
        sorted.push(top.node);
        stack.pop();
      }
    }
  }
  return sorted;
}

function fed(name: string, dtype: DType, shape: Shape, isState: boolean): Tensor {
  const what = `${isState ? 'state' : 'input'} '${name}'`;
  if (!Array.isArray(shape)) {
    throw new S3aError(
      'SHAPE',
      `${what} has ${kindOf(shape)} as its shape`,
      'Give a list such as [4, 2], or [] for a scalar.',
    );
  }
  if (!Object.hasOwn(ARRAYS, dtype)) {
    throw new S3aError('DTYPE', `${what} is of the unknown type '${dtype}'`, `Use ${Object.keys(ARRAYS).join(', ')}.`);
  }
  if (shape.some(extent => !Number.isInteger(extent) || extent < 1)) {
    throw new S3aError('SHAPE', `${what} has shape ${showShape(shape)}: extents are positive integers`);
  }
  return { dtype, shape: [...shape], source: { kind: 'input', name, state: isState } };
}

function dtypeOf(data: TensorData): DType {
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof Int32Array) return 'int32';
  if (data instanceof BigInt64Array) return 'int64';
  if (data instanceof Uint16Array) return 'float16';
  if (data instanceof Uint8Array) return 'uint8';
  return 'float32';
}
