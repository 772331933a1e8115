/** What every file of weights must do, whatever its format; each format's test runs these cases. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { S3aError } from '../src/errors.ts';
import type { TensorFile } from '../src/io/tensor-file.ts';

/** What another program says about a tensor; `values` in C order, for float types only. */
export interface ExpectedTensor {
  dtype: string;
  shape: number[];
  values?: readonly (number | string)[];
}

/**
 * Runs the shared cases on files opened by `open`, which have exactly the `expected` tensors. The values have to be equal; a format that
 * rounds gives its tolerance.
 */
export function tensorFileCases(
  name: string,
  open: () => Promise<TensorFile>,
  expected: Readonly<Record<string, ExpectedTensor>>,
  tolerance = { rtol: 0, atol: 0 },
): void {
  const floats = Object.entries(expected).filter(([, { values }]) => values);
  const others = Object.entries(expected).filter(([, { values }]) => !values);

  describe(`${name} as a tensor file`, () => {
    let file: TensorFile;
    beforeEach(async () => {
      file = await open();
    });
    afterEach(() => file.close());

    it('says which file it is, and lists its tensors once', () => {
      expect(file.path.length).toBeGreaterThan(0);
      expect([...file.names].sort()).toEqual(Object.keys(expected).sort());
      for (const name of file.names) expect(file.has(name)).toBe(true);
    });

    it('knows type and shape of each', () => {
      for (const [name, { dtype, shape }] of Object.entries(expected))
        expect(file.info(name)).toEqual({ dtype, shape });
    });

    it('gives a shape of its own each time', () => {
      const [name, { shape }] = Object.entries(expected)[0];
      file.info(name).shape.push(7);
      expect(file.info(name).shape).toEqual(shape);
    });

    it('reads the values', async () => {
      expect(floats.length).toBeGreaterThan(0);
      for (const [name, { values = [] }] of floats) {
        const read = await file.readFloat32(name);
        expect(read).toBeInstanceOf(Float32Array);
        const numbers = Float32Array.from(values, Number);
        if (tolerance.rtol === 0 && tolerance.atol === 0) expect(read, name).toEqual(numbers);
        else expect(read).toBeAllclose(numbers, tolerance);
      }
    });

    it('reads several at once, each into memory of its own', async () => {
      const [[name]] = floats.filter(([, { values = [] }]) => values.length > 0);
      const [one, two] = await Promise.all([file.readFloat32(name), file.readFloat32(name)]);
      expect(one).toEqual(two);
      expect(one.byteLength).toBe(one.buffer.byteLength);
      one.fill(0.5);
      expect(two).not.toEqual(one);
    });

    it('has nothing else, not even what every object has', async () => {
      for (const name of ['toString', '__proto__', 'constructor', 'no such\ntensor', '']) {
        expect(file.has(name)).toBe(false);
        expect(() => file.info(name)).toThrow(S3aError);
        expect(() => file.info(name)).toThrow(`has no tensor named ${JSON.stringify(name)}`);
        await expect(file.readFloat32(name)).rejects.toThrow(`has no tensor named ${JSON.stringify(name)}`);
      }
    });

    it.skipIf(others.length === 0)('does not read whole numbers as floats', async () => {
      for (const [name, { dtype }] of others) {
        await expect(file.readFloat32(name)).rejects.toThrow(`${JSON.stringify(name)} is ${dtype}, not a float type`);
      }
    });

    it('does not read after it was closed', async () => {
      const [[name]] = floats.filter(([, { values = [] }]) => values.length > 0);
      const closed = await open();
      await closed.close();
      await expect(closed.readFloat32(name)).rejects.toThrow(S3aError);
    });
  });
}
