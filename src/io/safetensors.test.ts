import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { type ExpectedTensor, tensorFileCases } from '../../test/tensor-file.cases.ts';
import { S3aError } from '../errors.ts';
import { openSafetensors, type TensorToWrite, writeSafetensors } from './safetensors.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/', import.meta.url));
const values = JSON.parse(readFileSync(join(goldens, 'values.json'), 'utf8')) as number[];
const folder = mkdtempSync(join(tmpdir(), 's3a-safetensors-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const tensors: Record<string, TensorToWrite> = {
  'visual.proj': { dtype: 'F32', shape: [3, 5], data: new Float32Array(values) },
  '0': { dtype: 'I64', shape: [2, 3], data: BigInt64Array.from([-3n, -2n, -1n, 0n, 1n, 2n]) },
  'b/ä': { dtype: 'F16', shape: [5], data: new Float32Array(values.slice(0, 5)) },
  scalar: { dtype: 'F32', shape: [], data: new Float32Array([4.6052]) },
  empty: { dtype: 'F32', shape: [0, 7], data: new Float32Array() },
  ids: { dtype: 'I32', shape: [3], data: Int32Array.from([1, -2, 3]) },
  mask: { dtype: 'U8', shape: [3], data: Uint8Array.from([0, 255, 7]) },
};

const golden = JSON.parse(readFileSync(join(goldens, 'torch/golden.json'), 'utf8')) as Record<
  string,
  Record<string, ExpectedTensor>
>;
tensorFileCases(
  'types.safetensors',
  () => openSafetensors(join(goldens, 'torch/types.safetensors')),
  golden['types.safetensors'],
);

/** A file with this header text and this many zero bytes of data. */
function fileOf(header: string | object, dataBytes: number): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const path = join(folder, 'hostile.safetensors');
  writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(dataBytes)]));
  return path;
}

test('reads what the Python library wrote', async () => {
  const file = await openSafetensors(join(goldens, 'all.safetensors'));
  expect(file.metadata).toEqual({});
  expect([...file.names].sort()).toEqual([...Object.keys(tensors), 'brain', 'double'].sort());
  expect(file.info('visual.proj')).toEqual({ dtype: 'F32', shape: [3, 5] });
  expect(file.info('scalar')).toEqual({ dtype: 'F32', shape: [] });
  expect([...(await file.readFloat32('visual.proj'))]).toEqual(values);
  expect(await file.readFloat32('double')).toEqual(new Float32Array(values));
  // bfloat16 keeps 8 bits of the fraction, float16 keeps 11.
  expect(await file.readFloat32('brain')).toBeAllclose(values, { rtol: 2 ** -8, atol: 0 });
  expect(await file.readFloat32('b/ä')).toBeAllclose(values.slice(0, 5), { rtol: 2 ** -11, atol: 0 });
  expect(await file.read('0')).toEqual(BigInt64Array.from([-3n, -2n, -1n, 0n, 1n, 2n]));
  expect(await file.read('ids')).toEqual(Int32Array.from([1, -2, 3]));
  expect(await file.read('mask')).toEqual(Uint8Array.from([0, 255, 7]));
  expect(await file.read('empty')).toEqual(new Float32Array());
  expect(file.has('brain')).toBe(true);
  expect(file.has('toString')).toBe(false);
  expect(() => file.info('toString')).toThrow('has no tensor named "toString"');
  await expect(file.readFloat32('ids')).rejects.toThrow('is I32, not a float type');
  await file.close();
});

test('writes the bytes of the Python library, whatever the order of the tensors', async () => {
  const expected = readFileSync(join(goldens, 'written.safetensors'));
  const path = join(folder, 'written.safetensors');
  await writeSafetensors(path, tensors);
  expect(readFileSync(path).equals(expected)).toBe(true);
  await writeSafetensors(path, new Map(Object.entries(tensors).reverse()));
  expect(readFileSync(path).equals(expected)).toBe(true);
  const file = await openSafetensors(path);
  expect(file.metadata).toEqual({ format: 'pt' });
  await file.close();
});

test('refuses to write elements that do not fill the shape, and leaves nothing', async () => {
  const path = join(folder, 'wrong/x.safetensors');
  const wrong = writeSafetensors(path, { w: { dtype: 'F32', shape: [2, 2], data: new Float32Array(3) } });
  await expect(wrong).rejects.toThrow('cannot write tensor w of shape [2,2] from 3 elements');
  expect(readdirSync(folder)).not.toContain('wrong');
});

const f32 = (begin: number, end: number, shape: unknown = [1]): object => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

test.each([
  ['not JSON', '{"a":', 0, 'the header is not JSON'],
  ['a list', '[]', 0, 'the header is not a JSON object'],
  ['a deep nest', `{"a":${'['.repeat(200_000)}`, 0, 'the header is not JSON'],
  ['metadata that is no object of strings', { __metadata__: { a: 1 } }, 0, '__metadata__ is not an object of strings'],
  ['a tensor that is null', { a: null }, 0, 'tensor "a" is not described by an object'],
  ['an unknown type', { a: { ...f32(0, 4), dtype: 'constructor' } }, 4, 'unknown dtype "constructor"'],
  ['a negative size', { a: f32(0, 4, [-1]) }, 4, 'a shape that is not a list of counts'],
  ['a fractional size', { a: f32(0, 4, [0.5]) }, 4, 'a shape that is not a list of counts'],
  ['offsets past the end', { a: f32(0, 8, [2]) }, 4, 'outside the 4 bytes of data'],
  ['offsets the wrong way round', { a: f32(4, 0) }, 4, 'outside the 4 bytes of data'],
  ['a huge shape', { a: f32(0, 4, [2 ** 52, 2 ** 52]) }, 4, 'takes'],
  ['bytes that do not fit the shape', { a: f32(0, 4, [2]) }, 4, 'takes 8 bytes but has 4'],
  ['an overlap', { a: f32(0, 8, [2]), b: f32(4, 8) }, 8, 'overlaps the one before it at byte 4'],
  ['a hole', { a: f32(0, 4), b: f32(8, 12) }, 12, 'bytes 4 to 8 belong to no tensor'],
  ['trailing bytes', { a: f32(0, 4) }, 12, 'its tensors take 4 bytes but 12 follow the header'],
])('a header with %s is one clear line', async (_, header, dataBytes, message) => {
  const error = await openSafetensors(fileOf(header, dataBytes)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(S3aError);
  expect((error as S3aError).code).toBe('SAFETENSORS');
  expect((error as S3aError).message).toContain(message);
  expect((error as S3aError).message).not.toContain('\n');
});

test('a header length beyond the limit or the file is refused before it is allocated', async () => {
  const path = join(folder, 'long.safetensors');
  writeFileSync(path, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7b]));
  await expect(openSafetensors(path)).rejects.toThrow('is over the limit of 100000000');
  writeFileSync(path, Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 0x7b]));
  await expect(openSafetensors(path)).rejects.toThrow('a header of 9 bytes in a file of 9; it was cut short');
  writeFileSync(path, '');
  await expect(openSafetensors(path)).rejects.toThrow('0 bytes are too few');
  writeFileSync(path, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n');
  await expect(openSafetensors(path)).rejects.toThrow('is only a Git LFS pointer');
  await expect(openSafetensors(folder)).rejects.toMatchObject({ code: 'READ' });
  await expect(openSafetensors(join(folder, 'absent'))).rejects.toMatchObject({ code: 'READ' });
});

test('no mutation of a good file does anything but throw S3aError or read whole tensors', async () => {
  const good = readFileSync(join(goldens, 'all.safetensors'));
  const headerEnd = 8 + Number(good.readBigUInt64LE(0));
  const path = join(folder, 'mutated.safetensors');
  let accepted = 0;
  let refused = 0;
  const edit = fc.oneof(
    fc.record({ at: fc.nat(headerEnd - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 3 }) }),
    // Digits, so that sizes and offsets change while the header stays JSON.
    fc.record({
      at: fc.nat(headerEnd - 1),
      bytes: fc.stringMatching(/^[0-9,[\]]{1,4}$/).map(text => Buffer.from(text)),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.nat(good.length), async (edits, cut) => {
      const bytes = Buffer.from(good.subarray(0, cut % 5 === 0 ? cut : good.length));
      for (const { at, bytes: replacement } of edits)
        if (at < bytes.length) bytes.set(replacement.subarray(0, bytes.length - at), at);
      writeFileSync(path, bytes);
      try {
        const file = await openSafetensors(path);
        let total = 0;
        for (const name of file.names) total += (await file.read(name)).byteLength;
        await file.close();
        expect(total).toBeLessThanOrEqual(bytes.length);
        accepted++;
      } catch (error) {
        expect(error).toBeInstanceOf(S3aError);
        refused++;
      }
    }),
    { numRuns: 500, seed: 1 },
  );
  // Both ways must have been walked for the test to mean something.
  expect(accepted).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(100);
});
