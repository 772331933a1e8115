/** One compiled program run over all rows of a matrix, a fixed block of rows at a time. */
import {
  compile,
  concat,
  program,
  type Session,
  type SessionOptions,
  split,
  state,
  type Tensor,
  type TensorData,
} from '../engine/index.ts';
import { S3aError } from '../errors.ts';

/** Where the steps of discovery compute. */
export type ComputeOptions = SessionOptions;

// Values of a block, 256 MB: sending a block costs more than a narrow product with it, so most matrices are one block.
const MOST_VALUES = 2 ** 26;

/** Rows of the blocks of a matrix: as even as possible, so that the padding of the last one is small. */
export function blockRows(rows: number, width: number): number {
  return Math.ceil(rows / Math.ceil((rows * width) / MOST_VALUES));
}

/**
 * The number of rows of a flat row-major matrix.
 * @throws S3aError SHAPE when it is empty or not a whole number of rows.
 */
export function rowCount(matrix: Float32Array, width: number, what: string): number {
  if (!Number.isInteger(width) || width < 1 || matrix.length === 0 || matrix.length % width !== 0) {
    throw new S3aError('SHAPE', `${what}: ${matrix.length} values are not one or more rows of ${width}`);
  }
  return matrix.length / width;
}

/** The rows of a flat matrix at the given indices, as a new matrix [indices.length, width]. */
export function takeRows(matrix: Float32Array, width: number, indices: ArrayLike<number>): Float32Array {
  const taken = new Float32Array(indices.length * width);
  for (let i = 0; i < indices.length; i++) {
    taken.set(matrix.subarray(indices[i] * width, (indices[i] + 1) * width), i * width);
  }
  return taken;
}

/** The rows of a matrix that need not be in memory. */
export interface Rows {
  readonly count: number;
  readonly width: number;
  /** Rows [start, end) as [end − start, width]; the caller must not change them. */
  read(start: number, end: number): Promise<Float32Array>;
}

/**
 * The rows of a matrix: of one in memory, or as they are.
 * @throws S3aError SHAPE as `rowCount`, or when rows have another width
 */
export function rowsOf(matrix: Float32Array | Rows, width: number, what: string): Rows {
  if (!(matrix instanceof Float32Array)) {
    if (matrix.width === width && matrix.count > 0) return matrix;
    throw new S3aError(
      'SHAPE',
      `${what}: ${matrix.count} rows of ${matrix.width} are not one or more rows of ${width}`,
    );
  }
  const count = rowCount(matrix, width, what);
  return { count, width, read: (start, end) => Promise.resolve(matrix.subarray(start * width, end * width)) };
}

// Rows that are asked for at a time: more would only wait.
const AT_A_TIME = 64;

/** The rows at the given indices, as `takeRows`, of a matrix that need not be in memory. */
export async function gatherRows(
  { width, read }: Rows,
  indices: ArrayLike<number>,
): Promise<Float32Array<ArrayBuffer>> {
  const taken = new Float32Array(indices.length * width);
  for (let start = 0; start < indices.length; start += AT_A_TIME) {
    const part = Array.from({ length: Math.min(AT_A_TIME, indices.length - start) }, (_, i) => start + i);
    await Promise.all(part.map(async i => taken.set(await read(indices[i], indices[i] + 1), i * width)));
  }
  return taken;
}

/** A session that sees a matrix block by block; it is compiled once and serves any number of matrices, one after the other. */
export class RowPass {
  readonly rows: number;
  readonly #width: number;
  readonly #session: Session;
  /** The block that the session holds. */
  #held: { matrix: Float32Array; start: number } | undefined;

  private constructor(session: Session, rows: number, width: number) {
    this.#session = session;
    this.rows = rows;
    this.#width = width;
  }

  /**
   * Compiles what `build` makes of some rows.
   *
   * Inside the program a block is cut into chunks, one after the other, so that what lies between block and outputs stays
   * small; the outputs of the chunks are joined.
   * @param rows of a block
   * @param chunk the most rows of a chunk
   * @param build gets a chunk [≤ chunk, width] and returns outputs with as many rows; states it uses are made outside, once
   */
  static async compile(
    { rows, width, chunk }: { rows: number; width: number; chunk: number },
    build: (chunk: Tensor) => Record<string, Tensor>,
    options: ComputeOptions = {},
  ): Promise<RowPass> {
    const count = Math.ceil(rows / Math.max(1, chunk));
    const sizes = Array.from({ length: count }, (_, c) => Math.ceil((rows - c) / count));
    const parts = split(state('block', [rows, width]), 0, sizes).map(build);
    const outputs = Object.keys(parts[0]).map(
      name =>
        [
          name,
          concat(
            parts.map(part => part[name]),
            0,
          ),
        ] as const,
    );
    return new RowPass(await compile(program(Object.fromEntries(outputs)), options), rows, width);
  }

  /** Sets states that `build` uses. */
  set(values: Record<string, TensorData>): Promise<void> {
    return this.#session.setState(values);
  }

  /**
   * Runs every block; `visit` gets its outputs, the index of its first row and its number of rows without padding.
   * @param matrix [N, width]; it must not change between runs with it, as a block that the session holds is not sent again
   */
  async run(
    matrix: Float32Array,
    visit: (outputs: Record<string, TensorData>, start: number, count: number) => void,
  ): Promise<void> {
    const total = matrix.length / this.#width;
    let pending = this.#start(matrix, 0);
    for (let start = 0; start < total; start += this.rows) {
      const outputs = await pending;
      // The next block computes while this one is looked at.
      if (start + this.rows < total) pending = this.#start(matrix, start + this.rows);
      visit(outputs, start, Math.min(this.rows, total - start));
    }
  }

  dispose(): Promise<void> {
    return this.#session.dispose();
  }

  async #start(matrix: Float32Array, start: number): Promise<Record<string, TensorData>> {
    if (this.#held?.matrix !== matrix || this.#held.start !== start) {
      const block = new Float32Array(this.rows * this.#width);
      block.set(matrix.subarray(start * this.#width, (start + this.rows) * this.#width));
      await this.#session.setState({ block });
      this.#held = { matrix, start };
    }
    return this.#session.run({});
  }
}
