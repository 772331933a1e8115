/** A GGUF file before a library opens it: whether it is one, whole by its header, and what identifies it. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { S3aError, whyOf } from '../errors.ts';

/** What was read of the file. */
export interface GgufFile {
  readonly path: string;
  readonly bytes: number;
  /** 16 hexadecimal digits of a SHA-256 over the size, the header and the end of the file. */
  readonly id: string;
}

const SAMPLE = 1 << 20;
/** A tensor's description takes at least a name's length, dimensions, a type and an offset; an entry a key, a type and a value. */
const LEAST_TENSOR = 32;
const LEAST_ENTRY = 13;

/**
 * Checks magic, version and counts against the file's size, in the first megabyte only.
 *
 * Throws S3aError READ for a file that cannot be read, `LLM_GGUF` for one that is no GGUF of version 2 or 3 or cannot hold what its
 * header promises. Source: github.com/ggml-org/ggml, docs/gguf.md.
 */
export async function checkGguf(path: string): Promise<GgufFile> {
  const handle = await open(path).catch(error => {
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, 'Name a .gguf file with --llm-model.', {
      cause: error,
    });
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw wrong(path, 'it is no file');
    const head = Buffer.alloc(Math.min(SAMPLE, stat.size));
    await handle.read(head, 0, head.length, 0);
    if (head.length < 24 || head.toString('latin1', 0, 4) !== 'GGUF') throw wrong(path, 'it does not begin with GGUF');
    const version = head.readUInt32LE(4);
    if (version !== 2 && version !== 3) throw wrong(path, `its version is ${version}, and 2 and 3 are known`);
    const [tensors, entries] = [head.readBigUInt64LE(8), head.readBigUInt64LE(16)];
    const least = 24n + tensors * BigInt(LEAST_TENSOR) + entries * BigInt(LEAST_ENTRY);
    if (tensors === 0n) throw wrong(path, 'it holds no tensors (a part of a split model? name its first part)');
    if (least > BigInt(stat.size)) {
      throw wrong(path, `it promises ${tensors} tensors and ${entries} entries in ${stat.size} bytes`);
    }
    const tail = Buffer.alloc(Math.min(SAMPLE, stat.size));
    await handle.read(tail, 0, tail.length, stat.size - tail.length);
    const id = createHash('sha256').update(`${stat.size}\n`).update(head).update(tail).digest('hex').slice(0, 16);
    return { path, bytes: stat.size, id };
  } finally {
    await handle.close();
  }
}

function wrong(path: string, why: string): S3aError {
  return new S3aError('LLM_GGUF', `${path} is not a GGUF model: ${why}`, 'Is the download complete?');
}
