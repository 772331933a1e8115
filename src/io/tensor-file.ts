/** What every file of weights offers, whatever its format: named tensors that are read when they are asked for. */
import { S3aError } from '../errors.ts';

/** An open file, or several as one, with named tensors. */
export interface TensorFile {
  /** The file that was opened, for messages. */
  readonly path: string;
  readonly names: readonly string[];
  has(name: string): boolean;
  /**
   * Type and shape, without reading the elements. The types have the names of safetensors: F64, F32, F16, BF16, I64, …, BOOL.
   *
   * Throws S3aError for a name that is not in the file.
   */
  info(name: string): { dtype: string; shape: number[] };
  /**
   * The elements in C order as float32; float types only. Besides the result it holds a few MB.
   *
   * Throws S3aError as `info`, for a type that is no float type, and READ.
   */
  readFloat32(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** Closes the file; nothing may be read afterwards. */
  close(): Promise<void>;
}

/**
 * Several files as one; `close` closes them all. `path` is for messages.
 *
 * Throws S3aError TENSORS when two files have a tensor of the same name; the files stay open then.
 */
export function combine(
  files: readonly TensorFile[],
  path: string = files.map(file => file.path).join(', '),
): TensorFile {
  const owners = new Map<string, TensorFile>();
  for (const file of files) {
    for (const name of file.names) {
      const other = owners.get(name);
      if (other) {
        throw new S3aError('TENSORS', `both ${other.path} and ${file.path} have a tensor ${JSON.stringify(name)}`);
      }
      owners.set(name, file);
    }
  }
  const ownerOf = (name: string): TensorFile => {
    const file = owners.get(name);
    if (!file) throw new S3aError('TENSORS', `${path} has no tensor named ${JSON.stringify(name)}`);
    return file;
  };
  return {
    path,
    names: [...owners.keys()],
    has: name => owners.has(name),
    info: name => ownerOf(name).info(name),
    readFloat32: async name => ownerOf(name).readFloat32(name),
    close: async () => {
      await Promise.all(files.map(file => file.close()));
    },
  };
}

/** Throws S3aError TENSORS when a file that starts with these bytes is the pointer that Git LFS leaves in place of a large file. */
export function refusePointer(path: string, head: Uint8Array): void {
  if (!Buffer.from(head).toString('latin1').startsWith('version https://git-lfs')) return;
  throw new S3aError(
    'TENSORS',
    `${path} is only a Git LFS pointer`,
    'Fetch the file itself, for example by git lfs pull.',
  );
}
