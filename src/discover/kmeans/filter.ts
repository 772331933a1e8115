/** Upper limits of many scores at once: products of 8-bit integers on ONNX Runtime, several times faster than of floats. */
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { modelProto, nodeProto, tensorProto, valueInfoProto } from '../../engine/proto.ts';

/** What images are compared with, in groups: centres, or names. */
export interface FilterTable {
  readonly groups: number;
  /** [width, groups·size] with member m of group g in column m·groups + g. */
  readonly bytes: Int8Array;
  readonly scales: Float32Array;
  readonly biases: Float32Array;
  /** The greatest length in each group, as the bytes have it, and the greatest length of what rounding took away. */
  readonly lengths: Float64Array;
  readonly errors: Float64Array;
  /** The greatest of all of these. */
  readonly length: number;
  readonly error: number;
  /** The greatest length of a row, and the greatest absolute bias. */
  readonly longest: number;
  readonly bias: number;
}

// Score of a column that only fills its group.
const EMPTY = -3e38;

/**
 * Rounds the rows of a table to bytes, each by its own scale.
 * @param row gives row `slot` (its values are read before the next call), undefined for a slot that only fills its group
 * @param lost [groups·size, width], all zero, for what rounding takes away
 */
export function filterTable(
  groups: number,
  size: number,
  width: number,
  row: (slot: number) => { values: Float64Array; bias: number } | undefined,
  lost?: Float32Array,
): FilterTable {
  const slots = groups * size;
  const table = {
    groups,
    bytes: new Int8Array(width * slots),
    scales: new Float32Array(slots).fill(1),
    biases: new Float32Array(slots).fill(EMPTY),
    lengths: new Float64Array(groups),
    errors: new Float64Array(groups),
    length: 0,
    error: 0,
    longest: 0,
    bias: 0,
  };
  const rows = new Int8Array(slots * width);
  for (let slot = 0; slot < slots; slot++) {
    const found = row(slot);
    if (!found) continue;
    const { values, bias } = found;
    const group = Math.floor(slot / size);
    const column = (slot % size) * groups + group;
    let [high, low] = [0, 0];
    for (let d = 0; d < values.length; d++) {
      if (values[d] > high) high = values[d];
      else if (values[d] < low) low = values[d];
    }
    const largest = Math.max(high, -low);
    // A trifle more than the quotient, so that the largest value is 127 and not 127.5 of it.
    const scale = Math.fround(Math.max((largest / 127) * 1.000001, 1e-30));
    const inverse = 1 / scale;
    let [squares, errors] = [0, 0];
    for (let d = 0, at = slot * width; d < values.length; d++, at++) {
      const value = values[d] * inverse;
      const byte = Math.floor(value + 0.5);
      rows[at] = byte;
      squares += byte * byte;
      errors += (value - byte) * (value - byte);
      if (lost) lost[at] = (value - byte) * scale;
    }
    squares *= scale * scale;
    errors *= scale * scale;
    table.scales[column] = scale;
    table.biases[column] = bias;
    table.longest = Math.max(table.longest, Math.sqrt(squares) + Math.sqrt(errors));
    table.bias = Math.max(table.bias, Math.abs(bias));
    table.lengths[group] = Math.max(table.lengths[group], Math.sqrt(squares));
    table.errors[group] = Math.max(table.errors[group], Math.sqrt(errors));
  }
  table.length = table.lengths.reduce((a, b) => Math.max(a, b), 0);
  table.error = table.errors.reduce((a, b) => Math.max(a, b), 0);
  turn(rows, table.bytes, width, groups, size);
  return table;
}

/** [slots, width] to [width, slots], a tile at a time: whole columns would touch a line of memory for every byte. */
function turn(rows: Int8Array, columns: Int8Array, width: number, groups: number, size: number): void {
  const slots = groups * size;
  for (let top = 0; top < width; top += 64) {
    const end = Math.min(width, top + 64);
    for (let m = 0; m < size; m++) {
      for (let g = 0; g < groups; g++) {
        const from = (g * size + m) * width;
        const column = m * groups + g;
        for (let d = top; d < end; d++) columns[d * slots + column] = rows[from + d];
      }
    }
  }
}

const opened = new Map<string, Promise<ScoreFilter>>();

/** A compiled product for rows of one padded width; it serves any number of rows and any table. */
export class ScoreFilter {
  /** The largest integer that stands for a value of a row, and the byte that stands for zero. */
  readonly most: number;
  readonly zero: number;
  /** The product alone, and with the greatest of every group. */
  readonly #scores: InferenceSession;
  readonly #greatest: InferenceSession;
  #best = new Float32Array(0);

  private constructor(scores: InferenceSession, greatest: InferenceSession, most: number) {
    this.#scores = scores;
    this.#greatest = greatest;
    this.most = most;
    this.zero = most + 1;
  }

  /**
   * The product for one width, compiled once in a thread and kept until that ends.
   * @param size of a group
   */
  static open(width: number, size: number): Promise<ScoreFilter> {
    const key = `${width} ${size}`;
    const known = opened.get(key) ?? ScoreFilter.#compile(width, size);
    opened.set(key, known);
    return known;
  }

  static async #compile(width: number, size: number): Promise<ScoreFilter> {
    const open = async (most: number): Promise<ScoreFilter> => {
      const options = { intraOpNumThreads: 1, logSeverityLevel: 4 } as const;
      const session = (grouped: boolean): Promise<InferenceSession> =>
        InferenceSession.create(filterModel(width, grouped ? size : undefined, most + 1), options);
      return new ScoreFilter(await session(false), await session(true), most);
    };
    const filter = await open(127);
    // Processors without instructions for this add two products in 16 bits, where large ones do not fit. Seven bits do.
    const values = new Float64Array(width).fill(1);
    const table = filterTable(1, size, width, slot => (slot === 0 ? { values, bias: 0 } : undefined));
    const [sum] = await filter.best(new Uint8Array(width).fill(255), 1, 1 / 127, table);
    if (Math.abs(sum - width) < 1e-3 * width) return filter;
    await Promise.all([filter.#scores.release(), filter.#greatest.release()]);
    return open(63);
  }

  /**
   * The greatest score of every group: bytes of a row, less `zero`, times `step`, times the table's, plus bias.
   * @param bytes [rows, width]
   * @param scores when given, [rows, groups·size] for the scores of all members in the order of the table's columns
   * @returns [rows, groups], overwritten by the next call
   */
  async best(
    bytes: Uint8Array,
    rows: number,
    step: number,
    table: FilterTable,
    scores?: Float32Array,
  ): Promise<Float32Array> {
    // ONNX Runtime's binding runs in one go between events, so of calls at a time each is read before the next one writes.
    const size = rows * table.groups;
    if (this.#best.length < size) this.#best = new Float32Array(size);
    const best = this.#best.subarray(0, size);
    const results = { best: new Tensor('float32', best, [rows, table.groups]), ...scoresTensor(rows, table, scores) };
    await this.#greatest.run(feeds(bytes, rows, step, table), results);
    return best;
  }

  /** The scores of all members alone, into [rows, groups·size]. */
  async all(bytes: Uint8Array, rows: number, step: number, table: FilterTable, scores: Float32Array): Promise<void> {
    await this.#scores.run(feeds(bytes, rows, step, table), scoresTensor(rows, table, scores));
  }
}

function scoresTensor(rows: number, { scales }: FilterTable, scores?: Float32Array): { scores?: Tensor } {
  return scores ? { scores: new Tensor('float32', scores, [rows, scales.length]) } : {};
}

function feeds(bytes: Uint8Array, rows: number, step: number, table: FilterTable): Record<string, Tensor> {
  const width = bytes.length / rows;
  const slots = table.scales.length;
  return {
    rows: new Tensor('uint8', bytes, [rows, width]),
    table: new Tensor('int8', table.bytes, [width, slots]),
    step: new Tensor('float32', Float32Array.of(step), [1]),
    scales: new Tensor('float32', table.scales, [slots]),
    biases: new Tensor('float32', table.biases, [slots]),
  };
}

/** @param size of the groups whose greatest score is wanted too */
function filterModel(width: number, size: number | undefined, zero: number): Uint8Array {
  const ints = (name: string, values: number[]) =>
    tensorProto(name, 'int64', [values.length], new Uint8Array(BigInt64Array.from(values, BigInt).buffer));
  const product = nodeProto({
    type: 'MatMulIntegerToFloat',
    domain: 'com.microsoft',
    inputs: ['rows', 'table', 'step', 'scales', 'zero', '', 'biases'],
    outputs: ['scores'],
  });
  const scores = valueInfoProto('scores', 'float32', ['rows', 'slots']);
  const grouped = size !== undefined;
  return modelProto({
    initializers: [
      tensorProto('zero', 'uint8', [], Uint8Array.of(zero)),
      ...(grouped ? [ints('split', [0, size, -1]), ints('axes', [1])] : []),
    ],
    inputs: [
      valueInfoProto('rows', 'uint8', ['rows', width]),
      valueInfoProto('table', 'int8', [width, 'slots']),
      valueInfoProto('step', 'float32', [1]),
      valueInfoProto('scales', 'float32', ['slots']),
      valueInfoProto('biases', 'float32', ['slots']),
    ],
    nodes: grouped
      ? [
          product,
          nodeProto({ type: 'Reshape', inputs: ['scores', 'split'], outputs: ['members'] }),
          nodeProto({ type: 'ReduceMax', inputs: ['members', 'axes'], outputs: ['best'], attributes: { keepdims: 0 } }),
        ]
      : [product],
    outputs: grouped ? [valueInfoProto('best', 'float32', ['rows', 'groups']), scores] : [scores],
  });
}
