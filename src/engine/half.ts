/** Mixed precision: products in float16, and what needs range or digits in float32, as torch.autocast divides them. */
import { apply, type DType, type Node, type OperatorName, type Tensor, within } from './graph.ts';
import { cast } from './ops/elementwise.ts';
import { rewrite } from './rewrite.ts';

/** Products, whose operands become float16. */
const PRODUCTS: ReadonlySet<OperatorName> = new Set(['Gemm', 'MatMul', 'Conv', 'ConvTranspose']);

/** What is computed in float16 where all its operands are float16 already, and otherwise in float32. */
const EITHER: ReadonlySet<OperatorName> = new Set([
  ...(['Reshape', 'Expand', 'Transpose', 'Concat', 'Slice', 'Pad'] as const),
  ...(['Add', 'Sub', 'Mul', 'Max', 'Min', 'Where', 'Neg', 'Abs', 'Relu', 'Gelu', 'QuickGelu'] as const),
]);

/**
 * The same tensors, computed with products in float16: weights and activations are cast on their way in, results stay float16 up
 * to the first operator that needs float32 (norms, softmax, exponentials, divisions, sums). Weights stay float32 states, and so
 * do their gradients: `gradient` of what comes out passes the casts.
 *
 * The exponent of float16 ends at 65504 and 6·10⁻⁸, so gradients need `lossScaling`.
 * @returns tensors of the types of the given ones
 * @example
 * const [z] = autocast([visionTower(config, state, pixels)]);
 */
export function autocast(tensors: readonly Tensor[]): Tensor[] {
  const casts = { float16: new Map<Tensor, Tensor>(), float32: new Map<Tensor, Tensor>() };
  const as = (type: 'float16' | 'float32', x: Tensor): Tensor => {
    if (x.dtype !== (type === 'float16' ? 'float32' : 'float16')) return x;
    const known = casts[type].get(x) ?? cast(x, type);
    casts[type].set(x, known);
    return known;
  };
  const change = (node: Node, inputs: readonly Tensor[]): readonly Tensor[] => {
    const half = isHalf(node, inputs);
    const operands = node.operator === 'Cast' ? inputs : inputs.map(x => as(half ? 'float16' : 'float32', x));
    if (!half && operands.every((x, i) => x === node.inputs[i])) return node.outputs;
    const type = (dtype: DType): DType => (half && dtype === 'float32' ? 'float16' : dtype);
    const outputs = node.outputs.map(({ dtype, shape }) => ({ dtype: type(dtype), shape }));
    return apply(node.operator, operands, node.attributes, outputs);
  };
  // Segments and profiles know a node by its place.
  const made = rewrite(tensors, new Map(), (node, inputs) =>
    node.place === '' ? change(node, inputs) : within(node.place, () => change(node, inputs)),
  );
  return made.map((x, i) => cast(x, tensors[i].dtype));
}

/** Whether a node is computed in float16, given its operands as they are by then; float64 stays as it is. */
function isHalf({ operator, inputs: before }: Node, inputs: readonly Tensor[]): boolean {
  if (before.some(({ dtype }) => dtype === 'float64')) return false;
  if (PRODUCTS.has(operator)) return true;
  const floats = inputs.filter(({ dtype }) => dtype.startsWith('float'));
  return EITHER.has(operator) && floats.length > 0 && floats.every(({ dtype }) => dtype === 'float16');
}
