/** What rewrites of operators need of the writer of ONNX nodes. */
import type { Node, Tensor, TensorData } from './graph.ts';
import type { AttributeValue } from './proto.ts';

export interface NodeWriter {
  /** Names of states that are constants. */
  readonly frozen: ReadonlySet<string>;
  /** The name under which a tensor lies as ONNX has it. */
  name(tensor: Tensor): string;
  /** A name that nothing has. */
  fresh(): string;
  /** A one-dimensional int64 constant, the form in which ONNX takes shapes and axes. */
  ints(values: readonly number[]): string;
  constant(type: Tensor['dtype'], shape: readonly number[], data: TensorData): string;
  emit(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes?: Record<string, AttributeValue>,
    domain?: string,
  ): void;
  /** Writes a node as usual, with inputs and outputs of other names. */
  spell(node: Node, inputs: string[], outputs: string[]): void;
}
