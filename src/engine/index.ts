/** The engine: trace a computation, derive its gradient, run both with ONNX Runtime. */
export { S3aError } from '../errors.ts';
export { type ChosenDevice, chooseDevice, describeChoice, type FoundDevice, tryDevice } from './choose-device.ts';
export { DEVICES, type Device, type Provider } from './device.ts';
export type { FreeExtent } from './free-extents.ts';
export { type GradientOptions, gradient } from './gradient.ts';
export {
  apply,
  applyAgain,
  constant,
  type DType,
  input,
  type Node,
  type OperatorName,
  type Operators,
  type Program,
  program,
  scalar,
  sortNodes,
  state,
  type Tensor,
  type TensorData,
  within,
} from './graph.ts';
export { autocast } from './half.ts';
export { type LossScale, type LossScaleOptions, lossScaleStart, lossScaling } from './loss-scale.ts';
export { type OnnxGraph, type OnnxOptions, type OnnxValue, onnxGraph, toOnnx } from './onnx.ts';
export type { OnnxConstant } from './onnx-writer.ts';
export * from './ops/index.ts';
export * from './optimizer.ts';
export { after, type Segments } from './recompute.ts';
export { compile, type Session, type SessionOptions } from './session.ts';
export { type Shape, showShape, sizeOf } from './shape.ts';
