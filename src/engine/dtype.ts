/** Checks of element types, with errors that name the operator and the types involved. */
import { S3aError } from '../errors.ts';
import type { DType, Tensor } from './graph.ts';
import { kindOf } from './tensor-data.ts';

const isFloat = ({ dtype }: Tensor): boolean => dtype.startsWith('float');

/** @throws S3aError DTYPE when the operands are not all tensors of one type. */
export function requireOneType(operator: string, tensors: readonly Tensor[]): void {
  const other = tensors.findIndex(tensor => tensor?.source === undefined);
  if (other >= 0) {
    const message = `${operator} of ${kindOf(tensors[other])}: tensors are needed`;
    throw new S3aError('DTYPE', message, 'Values enter a graph by constant or input.');
  }
  if (tensors.some(({ dtype }) => dtype !== tensors[0].dtype)) {
    throw new S3aError('DTYPE', `${operator} of ${tensors.map(t => t.dtype).join(' and ')}: the types differ`);
  }
}

/** @throws S3aError DTYPE when the tensors are not of one floating-point type. */
export function requireFloats(operator: string, tensors: readonly Tensor[]): void {
  requireOneType(operator, tensors);
  if (!tensors.every(isFloat)) throw new S3aError('DTYPE', `${operator} of ${tensors[0].dtype}: floats are needed`);
}

/** @throws S3aError DTYPE when the tensor is of one of the types that an operator does not take. */
export function refuseTypes(operator: string, { dtype }: Tensor, types: readonly DType[]): void {
  if (types.includes(dtype)) {
    throw new S3aError(
      'DTYPE',
      `${operator} of ${dtype}: other numbers are needed`,
      "Convert first, as by cast(x, 'float32').",
    );
  }
}

/** @throws S3aError DTYPE when the tensor cannot hold indices. */
export function requireIndices(operator: string, { dtype }: Tensor): void {
  if (dtype !== 'int32' && dtype !== 'int64') {
    throw new S3aError('DTYPE', `${operator} at ${dtype} indices: int32 is needed`);
  }
}
