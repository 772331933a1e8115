/**
 * Operators that work element by element. Operands of two are of one type, and their shapes broadcast as ONNX's and numpy's do.
 *
 * All throw S3aError DTYPE for types that differ or that the operator has not, and SHAPE for shapes that do not broadcast.
 */
import { S3aError } from '../../errors.ts';
import { refuseTypes, requireFloats, requireOneType } from '../dtype.ts';
import { apply, type DType, type OperatorName, type Operators, scalar, type Tensor } from '../graph.ts';
import { broadcastShapes } from '../shape.ts';

/** A tensor, or a number that becomes a scalar of the other operand's type. */
export type Operand = Tensor | number;

type Plain = { [O in OperatorName]: Record<never, never> extends Operators[O] ? O : never }[OperatorName];

function pair(operator: OperatorName, a: Operand, b: Operand): [Tensor, Tensor] {
  if (typeof a === 'number' && typeof b === 'number') {
    throw new S3aError('SHAPE', `${operator} of two numbers: one operand must be a tensor`);
  }
  requireOneType(
    operator,
    [a, b].filter(operand => typeof operand !== 'number'),
  );
  const x = typeof a === 'number' ? number(a, (b as Tensor).dtype) : a;
  const y = typeof b === 'number' ? number(b, x.dtype) : b;
  return [x, y];
}

/** A scalar constant; one of float16 is cast when ONNX Runtime opens the graph. */
function number(value: number, dtype: DType): Tensor {
  return dtype === 'float16' ? cast(scalar(value), 'float16') : scalar(value, dtype);
}

function binary(operator: Plain, a: Operand, b: Operand, dtype?: DType): Tensor {
  const [x, y] = pair(operator, a, b);
  if (operator !== 'Equal' && operator !== 'And') refuseTypes(operator, x, ['bool']);
  const shape = broadcastShapes(operator, x.shape, y.shape);
  return apply(operator, [x, y], {}, [{ dtype: dtype ?? x.dtype, shape }])[0];
}

function unary(operator: Plain, x: Tensor): Tensor {
  if (operator === 'Neg' || operator === 'Abs')
    refuseTypes(operator, x, operator === 'Neg' ? ['bool', 'uint8'] : ['bool']);
  else requireFloats(operator, [x]);
  return apply(operator, [x], {}, [x])[0];
}

/** a + b. */
export const add = (a: Operand, b: Operand): Tensor => binary('Add', a, b);
/** a − b. */
export const sub = (a: Operand, b: Operand): Tensor => binary('Sub', a, b);
/** a · b. */
export const mul = (a: Operand, b: Operand): Tensor => binary('Mul', a, b);
/** a / b; integers are cut towards 0. */
export const div = (a: Operand, b: Operand): Tensor => binary('Div', a, b);
/** The larger of the two, element by element. */
export const maximum = (a: Operand, b: Operand): Tensor => binary('Max', a, b);
/** The smaller of the two, element by element. */
export const minimum = (a: Operand, b: Operand): Tensor => binary('Min', a, b);
/** a = b, as bool; no gradient. */
export const equal = (a: Operand, b: Operand): Tensor => binary('Equal', a, b, 'bool');
/** a > b, as bool; no gradient. */
export const greater = (a: Operand, b: Operand): Tensor => binary('Greater', a, b, 'bool');
/** a ≥ b, as bool; no gradient. */
export const greaterOrEqual = (a: Operand, b: Operand): Tensor => binary('GreaterOrEqual', a, b, 'bool');
/** Logical and of two bool tensors; no gradient. */
export function and(a: Tensor, b: Tensor): Tensor {
  if (a.dtype !== 'bool' || b.dtype !== 'bool') {
    throw new S3aError('DTYPE', `And of ${a.dtype} and ${b.dtype}: bool is needed`);
  }
  return binary('And', a, b);
}

/** `a` where the condition holds, else `b`. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  if (condition.dtype !== 'bool') throw new S3aError('DTYPE', `Where needs a bool condition, not ${condition.dtype}`);
  const [x, y] = pair('Where', a, b);
  refuseTypes('Where', x, ['bool']);
  const shape = broadcastShapes('Where', condition.shape, broadcastShapes('Where', x.shape, y.shape));
  return apply('Where', [condition, x, y], {}, [{ dtype: x.dtype, shape }])[0];
}

/** −x. */
export const neg = (x: Tensor): Tensor => unary('Neg', x);
/** |x|. */
export const abs = (x: Tensor): Tensor => unary('Abs', x);
/** eˣ of floats. */
export const exp = (x: Tensor): Tensor => unary('Exp', x);
/** Natural logarithm of floats. */
export const log = (x: Tensor): Tensor => unary('Log', x);
/** √x of floats. */
export const sqrt = (x: Tensor): Tensor => unary('Sqrt', x);
/** 1/x of floats. */
export const reciprocal = (x: Tensor): Tensor => unary('Reciprocal', x);
/** 1/(1 + e⁻ˣ) of floats. */
export const sigmoid = (x: Tensor): Tensor => unary('Sigmoid', x);
/** Hyperbolic tangent of floats. */
export const tanh = (x: Tensor): Tensor => unary('Tanh', x);
/** Gauss error function of floats. */
export const erf = (x: Tensor): Tensor => unary('Erf', x);
/** The larger of x and 0, of floats. */
export const relu = (x: Tensor): Tensor => unary('Relu', x);
/** x², as one multiplication. */
export const square = (x: Tensor): Tensor => mul(x, x);

/** Gaussian error linear unit, exact (erf) or the tanh approximation. */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  requireFloats('Gelu', [x]);
  return apply('Gelu', [x], { approximate }, [x])[0];
}

/** x·sigmoid(1.702·x), the GELU of OpenAI's CLIP weights. */
export function quickGelu(x: Tensor, alpha = 1.702): Tensor {
  requireFloats('QuickGelu', [x]);
  return apply('QuickGelu', [x], { alpha }, [x])[0];
}

/** Converts the element type; the gradient is converted back. */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : apply('Cast', [x], { to }, [{ dtype: to, shape: x.shape }])[0];
}
