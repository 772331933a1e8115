/** Tables of one integer an image and column, as parquet; how stages hand their labels on. */
import { S3aError } from '../errors.ts';
import { readTable, writeTable } from '../io/table.ts';

/** The label of an image without a name. In the columns of the steps such an image has no text at all. */
export const UNKNOWN_LABEL = 'unknown';

/** Writes `file_name` and the given integer columns, each [N]. */
export async function writeColumns(
  path: string,
  files: readonly string[],
  columns: Readonly<Record<string, Int32Array>>,
): Promise<void> {
  await writeTable(path, [
    { name: 'file_name', type: 'text', values: files },
    ...Object.entries(columns).map(([name, values]) => ({ name, type: 'integer' as const, values })),
  ]);
}

/** All integer columns of such a table. */
export async function readColumns(path: string): Promise<Record<string, Int32Array>> {
  const rows = await readTable(path);
  const names = Object.keys(rows[0] ?? {}).filter(name => name !== 'file_name');
  return Object.fromEntries(names.map(name => [name, Int32Array.from(rows, row => Number(row[name]))]));
}

/** One integer column. */
export async function readColumn(path: string, name: string): Promise<Int32Array> {
  const column = (await readColumns(path))[name];
  if (!column) throw new S3aError('TABLE', `${path} has no column '${name}'`);
  return column;
}
