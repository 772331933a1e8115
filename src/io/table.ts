/** Tables such as labels, written with the same columns as .csv, .jsonl or .parquet, and read back. */
import { isUtf8 } from 'node:buffer';
import { readFile, stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { type Options, parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { messageOf, S3aError, whyOf } from '../errors.ts';
import { writeAtomic } from './atomic-write.ts';
import { iterateJsonl, writeJsonl } from './jsonl.ts';

/** A cell; numbers that are not finite become null when they are written. */
export type Cell = string | number | boolean | null;
export type Row = Record<string, Cell>;

/** A named column; integers are 32-bit, floats are doubles. A list is JSON text in .csv, and JSON in the other formats. */
export interface Column {
  name: string;
  type: 'text' | 'integer' | 'float' | 'boolean' | 'list';
  values: ArrayLike<Cell | readonly unknown[]>;
}

const PARQUET = { text: 'STRING', integer: 'INT32', float: 'DOUBLE', boolean: 'BOOLEAN', list: 'JSON' } as const;
const MAX_CSV = 1 << 28;

const EXTENSIONS = ['.csv', '.jsonl', '.parquet'];

/** Throws S3aError TABLE unless the path is that of a table, before what goes into it is computed. */
export function checkTablePath(path: string): void {
  if (!EXTENSIONS.includes(extname(path).toLowerCase())) throw unknownFormat(path);
}

/**
 * Writes the columns atomically in the format of the path's extension (.csv, .jsonl or .parquet).
 *
 * CSV is quoted as RFC 4180 says, with \n after each line: a cell is quoted when it holds a comma, a quote or a line break, or is the
 * empty text (null is nothing at all). Cells that a spreadsheet would take for a formula are left as they are, since file names must
 * stay exact.
 *
 * Throws S3aError WRITE, and TABLE when columns differ in length or name, a cell has another type, or the extension is unknown.
 */
export async function writeTable(path: string, columns: readonly Column[]): Promise<void> {
  const { checked, length } = checkColumns(path, columns);
  const extension = extname(path).toLowerCase();
  if (extension === '.csv') {
    await writeAtomic(path, write => writeLines(csvLines(checked, length), write));
  } else if (extension === '.jsonl') {
    await writeJsonl(path, rowsOf(checked, length));
  } else if (extension === '.parquet') {
    const columnData = checked.map(({ name, type, cells }) => ({
      name,
      data: cells,
      type: PARQUET[type],
      nullable: true,
    }));
    await writeAtomic(path, new Uint8Array(parquetWriteBuffer({ columnData })));
  } else throw unknownFormat(path);
}

/**
 * The rows of a .csv, .jsonl or .parquet file. The cells of a CSV are all text, with null for an unquoted empty one.
 *
 * Throws S3aError READ when the file cannot be read, TABLE or JSON for what is wrong with its content.
 */
export async function readTable(path: string): Promise<Row[]> {
  checkTablePath(path);
  const extension = extname(path).toLowerCase();
  if (extension === '.jsonl') {
    const rows: Row[] = [];
    for await (const value of iterateJsonl(path)) rows.push(plainRow(path, rows.length + 1, value));
    return rows;
  }
  const bytes = await readWhole(path, extension === '.csv' ? MAX_CSV : Number.POSITIVE_INFINITY);
  try {
    if (extension === '.csv') return parseCsv(path, bytes);
    const file = new Uint8Array(bytes).buffer;
    return (await parquetReadObjects({ file })).map((value, i) => plainRow(path, i + 1, value));
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('TABLE', `${path} is not a valid ${extension} table: ${messageOf(error)}`, undefined, {
      cause: error,
    });
  }
}

/** The text that `writeTable` writes into a .csv file. Throws S3aError TABLE as it does. */
export function csvText(columns: readonly Column[]): string {
  const { checked, length } = checkColumns('a table', columns);
  return [...csvLines(checked, length)].map(line => `${line}\n`).join('');
}

interface CheckedColumn {
  name: string;
  type: Column['type'];
  cells: (Cell | readonly unknown[])[];
}

function checkColumns(path: string, columns: readonly Column[]): { checked: CheckedColumn[]; length: number } {
  const length = columns[0]?.values.length ?? 0;
  const checked = columns.map(column => checkColumn(path, column, length));
  if (new Set(columns.map(({ name }) => name)).size === columns.length) return { checked, length };
  throw new S3aError('TABLE', `cannot write ${path}: two columns have the same name`);
}

function checkColumn(path: string, { name, type, values }: Column, length: number): CheckedColumn {
  if (values.length !== length) {
    throw new S3aError('TABLE', `cannot write ${path}: column ${name} has ${values.length} cells instead of ${length}`);
  }
  const cells = Array.from(values, value => (typeof value === 'number' && !Number.isFinite(value) ? null : value));
  const wrong = cells.findIndex(cell => cell !== null && !isOfType(cell, type));
  if (wrong < 0) return { name, type, cells };
  const shown = JSON.stringify(cells[wrong]);
  throw new S3aError(
    'TABLE',
    `cannot write ${path}: ${shown} in row ${wrong + 1} of column ${name} is not of type ${type}`,
  );
}

function isOfType(cell: Cell | readonly unknown[], type: Column['type']): boolean {
  if (type === 'list') return Array.isArray(cell);
  if (type === 'text') return typeof cell === 'string';
  if (type === 'boolean') return typeof cell === 'boolean';
  return typeof cell === 'number' && (type === 'float' || (cell | 0) === cell);
}

function* rowsOf(columns: readonly CheckedColumn[], length: number): Generator<Record<string, unknown>> {
  for (let i = 0; i < length; i++) yield Object.fromEntries(columns.map(({ name, cells }) => [name, cells[i]]));
}

function* csvLines(columns: readonly CheckedColumn[], length: number): Generator<string> {
  yield columns.map(({ name }) => csvCell(name)).join(',');
  for (let i = 0; i < length; i++) yield columns.map(({ cells }) => csvCell(cells[i])).join(',');
}

function csvCell(cell: Cell | readonly unknown[]): string {
  if (Array.isArray(cell)) return csvCell(JSON.stringify(cell));
  if (typeof cell !== 'string') return cell === null ? '' : String(cell);
  return cell === '' || /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}

async function writeLines(lines: Iterable<string>, write: (text: string) => Promise<void>): Promise<void> {
  let text = '';
  for (const line of lines) {
    text += `${line}\n`;
    if (text.length < 1 << 20) continue;
    await write(text);
    text = '';
  }
  await write(text);
}

function parseCsv(path: string, bytes: Buffer): Row[] {
  if (!isUtf8(bytes)) {
    throw new S3aError('TABLE', `${path} is not in UTF-8`, 'Save it as UTF-8; Excel calls that "CSV UTF-8".');
  }
  const text = new TextDecoder().decode(bytes);
  const read = (options: Options): (string | null)[][] =>
    parse(text, {
      record_delimiter: ['\r\n', '\n', '\r'],
      // The type of csv-parse says string, but what is returned is what the record holds.
      cast: (value, { quoting }) => (value === '' && !quoting ? (null as unknown as string) : value),
      ...options,
    }) as unknown as (string | null)[][];
  const [header] = read({ to: 1, skip_empty_lines: true });
  if (header === undefined) throw new S3aError('TABLE', `${path} is empty: it has no line of column names`);
  // In a lone column an empty line is a cell without a value, elsewhere a line that somebody has left.
  const rows = read({ skip_empty_lines: header.length > 1 }).slice(1);
  return rows.map(cells => Object.fromEntries(header.map((name, j) => [name ?? '', cells[j]])));
}

function plainRow(path: string, number: number, value: unknown): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new S3aError('TABLE', `${path}, row ${number}: not an object`);
  }
  return value as Row;
}

async function readWhole(path: string, limit: number): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > limit) throw new S3aError('READ', `${path} has ${size} bytes, at most ${limit} are read; use .parquet`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof S3aError) throw error;
    throw new S3aError('READ', `cannot read ${path}: ${whyOf(error)}`, undefined, { cause: error });
  }
}

function unknownFormat(path: string): S3aError {
  return new S3aError('TABLE', `${path} is not a .csv, .jsonl or .parquet file`);
}
