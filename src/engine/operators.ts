/** The operators that a graph may hold. */
import type { DType } from './graph.ts';
import type { Shape } from './shape.ts';

type None = Record<never, never>;

/** Of what slides over maps. */
export interface Window2d {
  readonly strides: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
}

/** Over axes that become 1, or go. */
export interface Reduction {
  readonly axes: readonly number[];
  readonly keepdims: boolean;
}

/** Which factors are transposed, and what the product is multiplied with. */
export interface Product {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly alpha: number;
}

/** Every operator a graph may hold, with its attributes. The gradient table has one rule for each of these keys. */
export interface Operators {
  Add: None;
  Sub: None;
  Mul: None;
  Div: None;
  Max: None;
  Min: None;
  Equal: None;
  Greater: None;
  GreaterOrEqual: None;
  And: None;
  Where: None;
  Neg: None;
  Abs: None;
  Exp: None;
  Log: None;
  Sqrt: None;
  Reciprocal: None;
  Sigmoid: None;
  Tanh: None;
  Erf: None;
  Relu: None;
  Gelu: { readonly approximate: 'none' | 'tanh' };
  QuickGelu: { readonly alpha: number };
  Cast: { readonly to: DType };
  /** Two matrices and an optional bias: alpha·A·B + C. */
  Gemm: Product;
  /** Batched matrices. */
  MatMul: Product;
  Reshape: { readonly shape: Shape };
  Expand: { readonly shape: Shape };
  Transpose: { readonly perm: readonly number[] };
  Concat: { readonly axis: number };
  Slice: {
    readonly starts: readonly number[];
    readonly ends: readonly number[];
    readonly axes: readonly number[];
  };
  Pad: { readonly pads: readonly number[] };
  Gather: { readonly axis: number };
  /** Rows of the second input added to a zero tensor [rows, …] at the indices of the first. */
  ScatterAdd: { readonly rows: number };
  ReduceSum: Reduction;
  ReduceMean: Reduction;
  ReduceMax: Reduction;
  Softmax: { readonly axis: number };
  LogSoftmax: { readonly axis: number };
  LayerNormalization: { readonly epsilon: number };
  /** Outputs: normalised and scaled, centred, mean, variance. Several ONNX nodes, one short gradient. */
  BatchNorm: { readonly epsilon: number };
  Conv: Window2d & { readonly group: number };
  /** The gradient of Conv's weight for one group: Σ over images and positions of windows of the first input ⊗ the second. */
  ConvWeight: Window2d & { readonly kernel: readonly [number, number] };
  ConvTranspose: Window2d & { readonly group: number; readonly outputPadding: readonly [number, number] };
  AveragePool: Window2d & { readonly kernel: readonly [number, number] };
  MaxPool: Window2d & { readonly kernel: readonly [number, number] };
  /** Each position as a square of so many rows and columns. */
  Upsample: { readonly factor: number };
  ArgMax: { readonly axis: number };
  TopK: { readonly k: number };
  OneHot: { readonly depth: number };
}

export type OperatorName = keyof Operators;
