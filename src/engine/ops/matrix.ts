/** Matrix products; all throw S3aError SHAPE for extents that do not fit, DTYPE for what is not of one float type. */
import { requireFloats } from '../dtype.ts';
import { apply, type Tensor } from '../graph.ts';
import { broadcastShapes, shapeError } from '../shape.ts';
import { reshape } from './layout.ts';

export interface ProductOptions {
  /** Take the first matrix transposed. */
  transA?: boolean;
  /** Take the second matrix transposed. */
  transB?: boolean;
  /** Factor of the product; default 1. */
  alpha?: number;
}

/**
 * alpha · A·B, batched over leading axes, which broadcast. Two matrices become one Gemm.
 * @param a [..., M, K], or [..., K, M] with transA
 * @param b [..., K, N], or [..., N, K] with transB
 * @returns [..., M, N]
 */
export function matMul(a: Tensor, b: Tensor, options: ProductOptions = {}): Tensor {
  const { transA = false, transB = false, alpha = 1 } = options;
  if (a.shape.length === 2 && b.shape.length === 2) return gemm(a, b, undefined, options);
  if (a.shape.length < 2 || b.shape.length < 2) throw shapeError('MatMul', [a.shape, b.shape], 'matrices are needed');
  // A stack of matrices times one matrix is one taller matrix times it.
  if (b.shape.length === 2 && !transA) {
    const flat = reshape(a, [-1, a.shape.at(-1)!]);
    const product = gemm(flat, b, undefined, options);
    return reshape(product, [...a.shape.slice(0, -1), product.shape[1]]);
  }
  const [m, n] = productShape('MatMul', a, b, transA, transB);
  const batch = broadcastShapes('MatMul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  return apply('MatMul', [a, b], { transA, transB, alpha }, [{ dtype: a.dtype, shape: [...batch, m, n] }])[0];
}

/**
 * alpha · A·B + C of two matrices.
 * @param a [M, K], or [K, M] with transA
 * @param b [K, N], or [N, K] with transB
 * @param c broadcastable to [M, N]
 */
export function gemm(a: Tensor, b: Tensor, c?: Tensor, options: ProductOptions = {}): Tensor {
  const { transA = false, transB = false, alpha = 1 } = options;
  if (a.shape.length !== 2 || b.shape.length !== 2) throw shapeError('Gemm', [a.shape, b.shape], 'needs two matrices');
  const [m, n] = productShape('Gemm', a, b, transA, transB);
  if (c) requireFloats('Gemm', [a, c]);
  if (c && broadcastShapes('Gemm', c.shape, [m, n]).join() !== `${m},${n}`) {
    throw shapeError('Gemm', [c.shape, [m, n]], 'the bias does not broadcast to the product');
  }
  return apply('Gemm', c ? [a, b, c] : [a, b], { transA, transB, alpha }, [{ dtype: a.dtype, shape: [m, n] }])[0];
}

/**
 * A linear layer on the last axis: x·Wᵀ + bias.
 * @param x [..., I]
 * @param weight [O, I], as PyTorch keeps it
 * @param bias [O]
 * @returns [..., O]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  if (x.shape.length < 1 || weight.shape.length !== 2 || x.shape.at(-1) !== weight.shape[1]) {
    throw shapeError('linear', [x.shape, weight.shape], 'the weight is not [O, I] with I the last extent');
  }
  if (bias && bias.shape.join() !== `${weight.shape[0]}`) {
    throw shapeError('linear', [weight.shape, bias.shape], 'the bias is not [O]');
  }
  const flat = x.shape.length === 2 ? x : reshape(x, [-1, x.shape.at(-1)!]);
  const y = gemm(flat, weight, bias, { transB: true });
  return x.shape.length === 2 ? y : reshape(y, [...x.shape.slice(0, -1), weight.shape[0]]);
}

function productShape(operator: string, a: Tensor, b: Tensor, transA: boolean, transB: boolean): [number, number] {
  const [aRows, aCols] = a.shape.slice(-2);
  const [bRows, bCols] = b.shape.slice(-2);
  const [m, k] = transA ? [aCols, aRows] : [aRows, aCols];
  const [k2, n] = transB ? [bCols, bRows] : [bRows, bCols];
  requireFloats(operator, [a, b]);
  if (k !== k2) {
    const left = `${k}${transA ? ' (transposed)' : ''}`;
    const right = `${k2}${transB ? ' (transposed)' : ''}`;
    throw shapeError(operator, [a.shape, b.shape], `inner extents ${left} and ${right} differ`);
  }
  return [m, n];
}
