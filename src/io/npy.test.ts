import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import { createNpyWriter, type NpyArray, type NpyDtype, openNpy, readNpyFloat32, writeNpy } from './npy.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/', import.meta.url));
const golden = (name: string): string => join(goldens, name);
const values = new Float32Array(JSON.parse(readFileSync(golden('values.json'), 'utf8')) as number[]);
const folder = mkdtempSync(join(tmpdir(), 's3a-npy-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases: [string, NpyDtype, number[], NpyArray][] = [
  ['f4.npy', '<f4', [3, 5], values],
  ['i4.npy', '<i4', [2, 3, 4], Int32Array.from({ length: 24 }, (_, i) => i)],
  ['i8.npy', '<i8', [3], BigInt64Array.from([1n, -(2n ** 40n), 3n])],
  ['u1.npy', '|u1', [7], Uint8Array.from({ length: 7 }, (_, i) => i)],
  ['scalar.npy', '<f4', [], new Float32Array([2.5])],
  ['none.npy', '<f4', [0, 4], new Float32Array()],
];

async function readNpy(path: string): Promise<{ dtype: NpyDtype; shape: number[]; data: NpyArray }> {
  const file = await openNpy(path);
  try {
    return { dtype: file.dtype, shape: file.shape, data: await file.read() };
  } finally {
    await file.close();
  }
}

test.each(cases)('reads %s as numpy wrote it, and writes the same bytes', async (name, dtype, shape, data) => {
  expect(await readNpy(golden(name))).toEqual({ dtype, shape, data });
  await writeNpy(join(folder, name), dtype, shape, data);
  expect(readFileSync(join(folder, name)).equals(readFileSync(golden(name)))).toBe(true);
});

test('float16 is written with the rounding of numpy and read as float32; version 2 is read', async () => {
  await writeNpy(join(folder, 'f2.npy'), '<f2', [3, 5], values);
  expect(readFileSync(join(folder, 'f2.npy')).equals(readFileSync(golden('f2.npy')))).toBe(true);
  const { shape, data } = await readNpyFloat32(golden('f2.npy'));
  expect(shape).toEqual([3, 5]);
  expect(data).toBeAllclose(values, { rtol: 2 ** -11, atol: 0 });
  expect((await readNpyFloat32(golden('v2.npy'))).data).toEqual(values);
});

test('rows appended in pieces make the file of the whole array, which appears only at the end', async () => {
  const path = join(folder, 'pieces/f4.npy');
  const writer = await createNpyWriter(path, '<f4', [3, 5]);
  await writer.append(values.subarray(0, 10));
  expect(readdirSync(join(folder, 'pieces'))).not.toContain('f4.npy');
  await writer.append(values.subarray(10));
  await writer.close();
  expect(readFileSync(path).equals(readFileSync(golden('f4.npy')))).toBe(true);
});

test('missing, broken, superfluous and mistyped rows are refused, and leave nothing', async () => {
  const path = join(folder, 'refused/f4.npy');
  const start = () => createNpyWriter(path, '<f4', [3, 5]);
  let writer = await start();
  await writer.append(values.subarray(0, 10));
  await expect(writer.close()).rejects.toThrow('10 elements were written, but the shape (3,5) has 15');
  writer = await start();
  await expect(writer.append(values.subarray(0, 4))).rejects.toThrow('4 elements are not whole rows of 5');
  writer = await start();
  await writer.append(values);
  await expect(writer.append(values.subarray(0, 5))).rejects.toThrow('more elements than the shape (3,5) has');
  writer = await start();
  await expect(writer.append(new Int32Array(5))).rejects.toThrow('Int32Array does not hold <f4');
  expect(readdirSync(join(folder, 'refused'))).toEqual([]);
});

test('reads ranges of rows, and refuses rows that are not there', async () => {
  const file = await openNpy(golden('f4.npy'));
  expect(await file.readRows(1, 2)).toEqual(values.slice(5, 10));
  expect(await file.readFloat32(1)).toEqual(values.slice(5));
  expect(await file.readRows(3, 3)).toEqual(new Float32Array());
  for (const [start, end] of [
    [-1, 1],
    [2, 4],
    [2, 1],
    [0.5, 1],
  ]) {
    await expect(file.readRows(start, end)).rejects.toThrow(`has 3 rows, not rows ${start} to ${end}`);
  }
  await file.close();
});

/** A version 1 file with this header text and this many zero bytes of data. */
function fileOf(header: string, dataBytes: number): string {
  const path = join(folder, 'hostile.npy');
  const start = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${header}`, 'latin1');
  start.writeUInt16LE(header.length, 8);
  writeFileSync(path, Buffer.concat([start, Buffer.alloc(dataBytes)]));
  return path;
}

test.each([
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4, 'takes 8 bytes but 4 follow'],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 8, 'takes 4 bytes but 8 follow'],
  [`{'descr': '<f4', 'fortran_order': False, 'shape': (0, ${'9'.repeat(400)}), }`, 0, 'takes NaN bytes'],
  [`{'descr': '<f4', 'fortran_order': False, 'shape': (${'9'.repeat(20)}, 9), }`, 0, 'takes'],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 0, 'cannot be understood'],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }", 0, 'exactly descr, fortran_order and shape'],
  ["{'descr': '<f4', 'shape': (1,), }", 4, 'exactly descr, fortran_order and shape'],
  ["{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4, 'cannot be understood'],
  ["{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, 'cannot be understood'],
  ["{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 4, 'its type |O is none of <f4'],
  ["{'descr': 'constructor', 'fortran_order': False, 'shape': (1,), }", 4, 'its type constructor is none of'],
  ['hello', 4, 'the header is not a dictionary'],
])('the header %s is one clear line', async (header, dataBytes, message) => {
  await expect(openNpy(fileOf(header, dataBytes))).rejects.toMatchObject({
    code: 'NPY',
    message: expect.stringContaining(message) as string,
  });
});

test('Fortran order, other types, other versions and cut files are one clear line', async () => {
  await expect(openNpy(golden('fortran.npy'))).rejects.toThrow('it is in Fortran order');
  await expect(openNpy(golden('f8.npy'))).rejects.toThrow('its type <f8 is none of');
  const good = readFileSync(golden('f4.npy'));
  const path = join(folder, 'bad.npy');
  for (let length = 0; length < good.length; length++) {
    writeFileSync(path, good.subarray(0, length));
    await expect(openNpy(path)).rejects.toMatchObject({ code: 'NPY' });
  }
  writeFileSync(path, Buffer.concat([Buffer.from('\x93NUMPY\x03\x00', 'latin1'), good.subarray(8)]));
  await expect(openNpy(path)).rejects.toThrow('its format version is 3');
  writeFileSync(path, Buffer.from('\x93NUMPY\x02\x00\xff\xff\xff\xff{}', 'latin1'));
  await expect(openNpy(path)).rejects.toThrow('over the limit');
});

test('no mutation of a header does anything but throw S3aError or read the whole array', async () => {
  const good = readFileSync(golden('v2.npy'));
  const path = join(folder, 'mutated.npy');
  await fc.assert(
    fc.asyncProperty(fc.nat(100), fc.uint8Array({ minLength: 1, maxLength: 3 }), async (at, replacement) => {
      const bytes = Buffer.from(good);
      bytes.set(replacement, at);
      writeFileSync(path, bytes);
      try {
        expect((await readNpy(path)).data.byteLength).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(S3aError);
      }
    }),
    { numRuns: 300, seed: 1 },
  );
});
