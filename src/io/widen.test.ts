import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { random } from '../random.ts';
import { type ByteFile, openBytes } from './bytes.ts';
import { float32ToFloat16 } from './float16.ts';
import { readWidened, stridesOf } from './widen.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-widen-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes elements after some bytes of something else, and opens the file. */
async function fileOf(elements: Float32Array | Uint16Array, before = 0): Promise<ByteFile> {
  const path = join(folder, 'elements');
  writeFileSync(path, Buffer.concat([Buffer.alloc(before, 7), new Uint8Array(elements.buffer)]));
  return openBytes(path);
}

/** The elements one by one, as the definition of strides says. */
function oneByOne(elements: ArrayLike<number>, shape: readonly number[], strides: readonly number[]): Float32Array {
  const out = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      at += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    out[i] = elements[at];
  }
  return out;
}

test('any small view of a storage, whatever its strides', async () => {
  const elements = Float32Array.from({ length: 400 }, (_, i) => i - 7);
  const file = await fileOf(elements, 3);
  const axis = fc.record({ size: fc.nat(4), stride: fc.nat(30) });
  await fc.assert(
    fc.asyncProperty(fc.array(axis, { maxLength: 4 }), async axes => {
      const shape = axes.map(({ size }) => size);
      const strides = axes.map(({ stride }) => stride);
      expect(await readWidened(file, 3, 'F32', { shape, strides })).toEqual(oneByOne(elements, shape, strides));
    }),
    { numRuns: 300, seed: 2 },
  );
  await file.close();
});

// More than a piece of 2^20 elements, in several ways.
const count = 2 ** 21 + 2000;
const draw = random(0, 'widen');
// Whole numbers that half precision holds exactly.
const values = Float32Array.from({ length: count }, () => draw.int(2000) - 1000);
const shape3 = [3, 700, 999];
test.each<[string, readonly number[], readonly number[]]>([
  ['one axis', [count], [1]],
  ['one axis with steps', [699_000], [3]],
  ['rows', [699, 3001], [3001, 1]],
  ['columns', [3001, 699], [1, 3001]],
  ['some columns of rows', [699, 5], [3001, 1]],
  ['axes that are turned', [shape3[2], shape3[0], shape3[1]], [1, shape3[1] * shape3[2], shape3[2]]],
  ['few rows that lie far apart', [2, 4], [2 ** 21, 1]],
  ['a repeated row', [3, 700_000], [0, 1]],
  ['a repeated far row', [3, 2, 5], [0, 2 ** 21, 1]],
])('reads %s in pieces', async (_, shape, strides) => {
  const expected = oneByOne(values, shape, strides);
  const half = await fileOf(float32ToFloat16(values), 6);
  expect(
    Buffer.compare(await bytesOf(readWidened(half, 6, 'F16', { shape, strides })), Buffer.from(expected.buffer)),
  ).toBe(0);
  await half.close();
  const full = await fileOf(values, 4);
  expect(
    Buffer.compare(await bytesOf(readWidened(full, 4, 'F32', { shape, strides })), Buffer.from(expected.buffer)),
  ).toBe(0);
  await full.close();
});

async function bytesOf(reading: Promise<Float32Array<ArrayBuffer>>): Promise<Buffer> {
  return Buffer.from((await reading).buffer);
}

test('never holds more than a piece besides the result', async () => {
  const file = await fileOf(new Uint16Array(count));
  const lengths: number[] = [];
  const counting: ByteFile = {
    ...file,
    read: (start, length) => {
      lengths.push(length);
      return file.read(start, length);
    },
  };
  await readWidened(counting, 0, 'F16', { shape: [count] });
  expect(Math.max(...lengths)).toBeLessThanOrEqual(2 ** 21);
  expect(lengths.reduce((sum, length) => sum + length)).toBe(2 * count);
  lengths.length = 0;
  // Of rows that lie apart, what lies between pieces is not read.
  await readWidened(counting, 0, 'F16', { shape: [2, 4], strides: [2 ** 21, 1] });
  expect(lengths).toEqual([8, 8]);
  await file.close();
});

test('the strides of C order', () => {
  expect(stridesOf([2, 3, 4])).toEqual([12, 4, 1]);
  expect(stridesOf([])).toEqual([]);
});
