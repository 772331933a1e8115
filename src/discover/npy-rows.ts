/** The rows of a .npy file, read when they are asked for, so that features need not fit into memory. */
import { S3aError } from '../errors.ts';
import { openNpy } from '../io/npy.ts';
import type { Rows } from './row-pass.ts';

/** Rows of an open file; `close` it when nothing is read any more. */
export interface FileRows extends Rows {
  close(): Promise<void>;
}

/**
 * The rows of a float32 or float16 matrix in a .npy file.
 *
 * Throws S3aError READ or NPY as `openNpy`, and NPY when it is no such matrix.
 */
export async function openRows(path: string): Promise<FileRows> {
  const file = await openNpy(path);
  const [count, width] = file.shape;
  if (file.shape.length === 2 && count > 0 && width > 0 && (file.dtype === '<f4' || file.dtype === '<f2')) {
    return { count, width, read: (start, end) => file.readFloat32(start, end), close: () => file.close() };
  }
  await file.close();
  throw new S3aError(
    'NPY',
    `${path} holds ${file.dtype} of shape (${file.shape.join(', ')})`,
    'It must be float32 or float16 of shape (rows, width).',
  );
}
