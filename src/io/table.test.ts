import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { type Column, readTable, writeTable } from './table.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-table-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const names = [
  'plain.png',
  'a, b.png',
  'say "x".png',
  'two\nlines.png',
  'cr\r.png',
  ' spaces ',
  '',
  '=1+1',
  '🦊/ü.png',
  'u\u2028.png',
];
const columns: Column[] = [
  { name: 'file_name', type: 'text', values: names },
  { name: 'label', type: 'text', values: names.map((_, i) => (i === 2 ? null : `name ${i}`)) },
  { name: 'cluster', type: 'integer', values: Int32Array.from(names, (_, i) => i - 3) },
  { name: 'score', type: 'float', values: Float32Array.from(names, (_, i) => (i === 1 ? Number.NaN : i / 10)) },
  { name: 'agree', type: 'boolean', values: names.map((_, i) => i % 2 === 0) },
];
const rows = names.map((file_name, i) => ({
  file_name,
  label: i === 2 ? null : `name ${i}`,
  cluster: i - 3,
  score: i === 1 ? null : Math.fround(i / 10),
  agree: i % 2 === 0,
}));

test.each(['jsonl', 'parquet'])('.%s comes back with its types', async extension => {
  const path = join(folder, `labels.${extension}`);
  await writeTable(path, columns);
  expect(await readTable(path)).toEqual(rows);
});

test('.csv comes back as text', async () => {
  const path = join(folder, 'labels.csv');
  await writeTable(path, columns);
  const text = rows.map(row =>
    Object.fromEntries(Object.entries(row).map(([key, cell]) => [key, cell === null ? null : String(cell)])),
  );
  expect(await readTable(path)).toEqual(text);
});

test('lists are JSON: text in .csv, lists elsewhere', async () => {
  const values = [[{ name: 'a "b", c', probability: 0.5 }], [], null];
  for (const extension of ['jsonl', 'parquet', 'csv']) {
    const path = join(folder, `lists.${extension}`);
    await writeTable(path, [{ name: 'top', type: 'list', values }]);
    const expected = extension === 'csv' ? values.map(list => list && JSON.stringify(list)) : values;
    expect((await readTable(path)).map(row => row.top)).toEqual(expected);
  }
  const wrong = writeTable(join(folder, 'wrong.csv'), [{ name: 'top', type: 'list', values: ['a'] }]);
  await expect(wrong).rejects.toThrow('"a" in row 1 of column top is not of type list');
});

test('.csv is quoted as RFC 4180 says, and only where it must be', async () => {
  const path = join(folder, 'quoted.csv');
  await writeTable(path, [
    { name: 'file,name', type: 'text', values: ['a"b', 'c,d', 'e\nf', ' g ', '', '=h'] },
    { name: 'n', type: 'integer', values: [1, -2, null, 4, 5, 6] },
  ]);
  expect(readFileSync(path, 'utf8')).toBe('"file,name",n\n"a""b",1\n"c,d",-2\n"e\nf",\n g ,4\n"",5\n=h,6\n');
});

test('any texts come back from every format, even a lone column of nothing', async () => {
  const text = fc.option(fc.string({ unit: fc.constantFrom(',', '"', '\n', '\r', ' ', 'a', 'é', '🦊', '#') }), {
    freq: 4,
  });
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 6 }), async values => {
      for (const extension of ['csv', 'jsonl', 'parquet']) {
        const path = join(folder, `any.${extension}`);
        await writeTable(path, [{ name: 'x', type: 'text', values }]);
        expect(await readTable(path)).toEqual(values.map(x => ({ x })));
      }
    }),
    { seed: 5, numRuns: 60 },
  );
});

test.each([
  ['byte-order mark, CRLF', '\ufefffile_name,label\r\n"a, b.png",dog\r\n'],
  ['line ends of old', 'file_name,label\r"a, b.png",dog\r'],
  ['empty lines', '\nfile_name,label\n\n"a, b.png",dog\n\n\n'],
])('a CSV of others: %s', async (_, text) => {
  const path = join(folder, 'others.csv');
  writeFileSync(path, text);
  expect(await readTable(path)).toEqual([{ file_name: 'a, b.png', label: 'dog' }]);
});

test.each(['utf-16le', 'latin1'] as const)('a CSV in %s is told how to be saved', async encoding => {
  const path = join(folder, 'encoded.csv');
  writeFileSync(path, Buffer.from('\ufefffile_name,label\né.png,dog\n', encoding));
  await expect(readTable(path)).rejects.toMatchObject({
    message: `${path} is not in UTF-8`,
    hint: expect.stringContaining('Save it as UTF-8') as string,
  });
});

test('tables that cannot be written leave nothing', async () => {
  const write = (name: string, ...wrong: Column[]) => writeTable(join(folder, 'wrong', name), wrong);
  const text: Column = { name: 'a', type: 'text', values: ['x'] };
  await expect(write('x.csv', text, { name: 'b', type: 'text', values: [] })).rejects.toThrow(
    'column b has 0 cells instead of 1',
  );
  await expect(write('x.csv', text, text)).rejects.toThrow('two columns have the same name');
  await expect(write('x.csv', { name: 'a', type: 'integer', values: [1, 0.5] })).rejects.toThrow(
    '0.5 in row 2 of column a is not of type integer',
  );
  await expect(write('x.csv', { name: 'a', type: 'integer', values: [2 ** 40] })).rejects.toMatchObject({
    code: 'TABLE',
  });
  await expect(write('x.csv', { name: 'a', type: 'text', values: [true] })).rejects.toThrow('true in row 1');
  await expect(write('x.xlsx', text)).rejects.toThrow('is not a .csv, .jsonl or .parquet file');
  expect(readdirSync(folder)).not.toContain('wrong');
});

test('broken tables are one clear line', async () => {
  const broken: [string, string, string][] = [
    ['cut.csv', 'a,b\n"x', 'TABLE'],
    ['short.csv', 'a,b\n1\n', 'TABLE'],
    ['empty.csv', '', 'TABLE'],
    ['text.parquet', 'not a parquet file', 'TABLE'],
    ['list.jsonl', '[1]\n', 'TABLE'],
    ['broken.jsonl', '{\n', 'JSON'],
    ['x.txt', '', 'TABLE'],
  ];
  for (const [name, content, code] of broken) {
    writeFileSync(join(folder, name), content);
    await expect(readTable(join(folder, name)), name).rejects.toMatchObject({ name: 'S3aError', code });
  }
  for (const name of ['absent.csv', 'absent.jsonl', 'absent.parquet']) {
    await expect(readTable(join(folder, name))).rejects.toMatchObject({ code: 'READ' });
  }
});
