/** Weights by name: how a tower asks for them, and the list of those it asked for. */
import { input, type Tensor } from '../../engine/index.ts';

/** Gives the tensor of a named weight; a tower calls it once for each of its weights. */
export type Parameters = (name: string, shape: readonly number[]) => Tensor;

export interface Parameter {
  /** transformers' state-dict name. */
  readonly name: string;
  readonly shape: readonly number[];
}

/** The weights that a tower asks for, in the order of their use: the tower is traced once and the trace dropped. */
export function recordParameters(trace: (params: Parameters) => unknown): Parameter[] {
  const recorded: Parameter[] = [];
  trace((name, shape) => {
    recorded.push({ name, shape });
    return input(name, 'float32', shape);
  });
  return recorded;
}
