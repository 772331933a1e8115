/** Gradients of the element-wise operators. */

import type { Node, Tensor } from '../graph.ts';
import * as ops from '../ops/elementwise.ts';
import { full, sumTo } from '../ops/reduce.ts';
import { noGradient, type RuleTable } from './rule.ts';

const { add, cast, div, equal, exp, greater, mul, neg, sigmoid, sub, erf, where } = ops;

export const elementwise: RuleTable<
  | 'Add'
  | 'Sub'
  | 'Mul'
  | 'Div'
  | 'Max'
  | 'Min'
  | 'Equal'
  | 'Greater'
  | 'GreaterOrEqual'
  | 'And'
  | 'Where'
  | 'Neg'
  | 'Abs'
  | 'Exp'
  | 'Log'
  | 'Sqrt'
  | 'Reciprocal'
  | 'Sigmoid'
  | 'Tanh'
  | 'Erf'
  | 'Relu'
  | 'Gelu'
  | 'QuickGelu'
  | 'Cast'
> = {
  Add: ({ inputs: [a, b] }, dy) => [sumTo(dy, a.shape), sumTo(dy, b.shape)],
  Sub: ({ inputs: [a, b] }, dy) => [sumTo(dy, a.shape), neg(sumTo(dy, b.shape))],
  Mul: ({ inputs: [a, b] }, dy) =>
    a === b ? [mul(mul(dy, a), 2), undefined] : [sumTo(mul(dy, b), a.shape), sumTo(mul(dy, a), b.shape)],
  Div: ({ inputs: [a, b], outputs: [y] }, dy) => {
    const da = div(dy, b);
    return [sumTo(da, a.shape), neg(sumTo(mul(da, y), b.shape))];
  },
  Max: ({ inputs: [a, b] }, dy) => extremum(a, b, greater(a, b), dy),
  Min: ({ inputs: [a, b] }, dy) => extremum(a, b, greater(b, a), dy),
  Equal: noGradient,
  Greater: noGradient,
  GreaterOrEqual: noGradient,
  And: noGradient,
  Where: ({ inputs: [condition, a, b] }, dy) => [
    undefined,
    sumTo(where(condition, dy, 0), a.shape),
    sumTo(where(condition, 0, dy), b.shape),
  ],
  Neg: (_, dy) => [neg(dy)],
  Abs: ({ inputs: [x] }, dy) => [mul(dy, sub(cast(greater(x, 0), x.dtype), cast(greater(0, x), x.dtype)))],
  Exp: ({ outputs: [y] }, dy) => [mul(dy, y)],
  Log: ({ inputs: [x] }, dy) => [div(dy, x)],
  Sqrt: ({ outputs: [y] }, dy) => [div(mul(dy, 0.5), y)],
  Reciprocal: ({ outputs: [y] }, dy) => [neg(mul(dy, mul(y, y)))],
  Sigmoid: ({ outputs: [y] }, dy) => [mul(dy, mul(y, sub(1, y)))],
  Tanh: ({ outputs: [y] }, dy) => [mul(dy, sub(1, mul(y, y)))],
  Erf: ({ inputs: [x] }, dy) => [mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))],
  // A product with 0 or 1: on the CPU three times as fast as Where.
  Relu: ({ outputs: [y] }, dy) => [mul(dy, cast(greater(y, 0), y.dtype))],
  Gelu: (node, dy) => [mul(dy, node.attributes.approximate === 'tanh' ? tanhGeluSlope(node) : geluSlope(node))],
  // d/dx x·s(αx) = s + α·y·(1 − s)
  QuickGelu: ({ inputs: [x], outputs: [y], attributes: { alpha } }, dy) => {
    const s = sigmoid(mul(x, alpha));
    return [mul(dy, add(s, mul(mul(y, alpha), sub(1, s))))];
  },
  Cast: ({ inputs: [x] }, dy) => [x.dtype.startsWith('float') ? cast(dy, x.dtype) : undefined],
};

/** The larger (or smaller) operand takes the gradient, equal ones share it, as in PyTorch. */
function extremum(a: Tensor, b: Tensor, aWins: Tensor, dy: Tensor): [Tensor, Tensor] {
  const share = where(equal(a, b), full(0.5, [], dy.dtype), where(aWins, full(1, [], dy.dtype), 0));
  const da = mul(dy, share);
  return [sumTo(da, a.shape), sumTo(sub(dy, da), b.shape)];
}

/** Φ(x) + x·φ(x). */
function geluSlope({ inputs: [x] }: Node<'Gelu'>): Tensor {
  const cdf = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
  const pdf = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return add(cdf, mul(x, pdf));
}

/**
 * Slope of y = x·s, s = sigmoid(u), u = x·(a + b·x²): s + y·(1 − s)·u′. The same function as 0.5·x·(1 + tanh(u/2)), in fewer
 * passes over the data.
 */
function tanhGeluSlope({ inputs: [x], outputs: [y] }: Node<'Gelu'>): Tensor {
  const a = 2 * Math.sqrt(2 / Math.PI);
  const square = mul(mul(x, x), 0.044715 * a);
  const s = sigmoid(mul(add(square, a), x));
  return add(s, mul(mul(y, sub(1, s)), add(mul(square, 3), a)));
}
