/** Files of weights with changed, missing and added bytes: each is read within its bounds or refused by one clear line. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { S3aError } from '../errors.ts';
import { openSafetensors } from './safetensors.ts';
import { openShards } from './shards.ts';
import type { TensorFile } from './tensor-file.ts';
import { openTorchFile } from './torch-file.ts';
import { isFloatDtype } from './widen.ts';

const goldens = fileURLToPath(new URL('../../test/goldens/io/', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-mutated-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Edit {
  at: number;
  remove: number;
  insert: Uint8Array;
}

/** Bytes that mean something in pickles, ZIP archives and JSON, besides any others. */
const telling = [
  ...Buffer.from('.0(}]){[:,"Rbcqhtusea-1239NQKJM\\/'),
  0x80,
  0x81,
  0x85,
  0x86,
  0x87,
  0x88,
  0x8a,
  0x93,
  0,
  1,
  127,
  255,
];
const byte = fc.oneof(fc.constantFrom(...telling), fc.nat(255));
const inserted = fc.array(byte, { maxLength: 4 }).map(bytes => Uint8Array.from(bytes));

/** Edits at places up to `length`: most keep the number of bytes, so that what follows stays at its place. */
function edits(length: number): fc.Arbitrary<Edit[]> {
  const replacing = fc
    .record({ at: fc.nat(length), insert: inserted })
    .map(edit => ({ ...edit, remove: edit.insert.length }));
  const shifting = fc.record({ at: fc.nat(length), remove: fc.nat(8), insert: inserted });
  const cutting = fc.nat(length).map(at => ({ at, remove: length, insert: new Uint8Array() }));
  const edit = fc.oneof(
    { weight: 16, arbitrary: replacing },
    { weight: 3, arbitrary: shifting },
    { weight: 1, arbitrary: cutting },
  );
  return fc.array(edit, { minLength: 1, maxLength: 3 });
}

function apply(bytes: Buffer, list: readonly Edit[]): Buffer {
  return list.reduce<Buffer>(
    (all, { at, remove, insert }) => Buffer.concat([all.subarray(0, at), insert, all.subarray(at + remove)]),
    bytes,
  );
}

/** Reads all that can be read; gives whether the file was accepted. */
async function readsOrRefuses(open: () => Promise<TensorFile>, fileBytes: number): Promise<boolean> {
  let file: TensorFile | undefined;
  try {
    file = await open();
    for (const name of file.names) {
      const { dtype, shape } = file.info(name);
      const values = isFloatDtype(dtype) ? await file.readFloat32(name) : undefined;
      if (!values) continue;
      expect(values.length).toBe(shape.reduce((product, size) => product * size, 1));
      // A tensor may repeat its elements, but not without end.
      expect(values.length).toBeLessThanOrEqual(Math.max(fileBytes, 1 << 24));
    }
    return true;
  } catch (error) {
    if (!(error instanceof S3aError)) throw error;
    expect(error.message).not.toMatch(/[\n\r]/);
    expect(error.message.length).toBeLessThan(2000);
    return false;
  } finally {
    await file?.close();
  }
}

// S3A_FUZZ multiplies the number of runs.
const factor = Number(process.env.S3A_FUZZ ?? 1);

/** Both answers must come up for the test to mean something. */
async function fuzz(
  bytes: Buffer,
  length: number,
  numRuns: number,
  open: (mutated: Buffer) => Promise<TensorFile>,
): Promise<void> {
  let accepted = 0;
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(edits(length), async list => {
      const mutated = apply(bytes, list);
      if (await readsOrRefuses(() => open(mutated), mutated.length)) accepted++;
      else refused++;
    }),
    { numRuns: numRuns * factor, seed: 7 },
  );
  expect(accepted).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
}

test.each(['types.pt', 'views.pt', 'parameters.pt', 'checkpoint-4.pt', 'checkpoint-legacy.pt', 'scripted.pt'])(
  'no mutation of %s does harm',
  async name => {
    const bytes = readFileSync(join(goldens, 'torch', name));
    const path = join(folder, 'mutated.pt');
    await fuzz(bytes, bytes.length, 200, async mutated => {
      writeFileSync(path, mutated);
      return openTorchFile(path);
    });
  },
  600_000,
);

test('no mutation of the pickle of an archive does harm', async () => {
  // The pickle is the first entry of state-dict.pt and the part that says most.
  const bytes = readFileSync(join(goldens, 'torch/state-dict.pt'));
  const path = join(folder, 'mutated.pt');
  await fuzz(bytes, bytes.indexOf('PK\x07\x08'), 400, async mutated => {
    writeFileSync(path, mutated);
    return openTorchFile(path);
  });
}, 600_000);

test('no mutation of the directory of an archive does harm', async () => {
  const bytes = readFileSync(join(goldens, 'torch/state-dict.pt'));
  const start = bytes.indexOf('PK\x01\x02');
  const path = join(folder, 'mutated.pt');
  await fuzz(bytes.subarray(start), bytes.length - start, 300, async mutated => {
    writeFileSync(path, Buffer.concat([bytes.subarray(0, start), mutated]));
    return openTorchFile(path);
  });
}, 600_000);

test('no mutation of a safetensors header does harm', async () => {
  const bytes = readFileSync(join(goldens, 'all.safetensors'));
  const path = join(folder, 'mutated.safetensors');
  await fuzz(bytes, 8 + Number(bytes.readBigUInt64LE(0)), 300, async mutated => {
    writeFileSync(path, mutated);
    return openSafetensors(path);
  });
}, 600_000);

test.each(['sharded-safetensors/model.safetensors', 'sharded-bin/pytorch_model.bin'])(
  'no mutation of the index of %s does harm',
  async stem => {
    const bytes = readFileSync(join(goldens, 'torch', `${stem}.index.json`));
    cpSync(join(goldens, 'torch', stem.split('/')[0]), folder, { recursive: true });
    const path = join(folder, 'mutated.index.json');
    await fuzz(bytes, bytes.length, 200, async mutated => {
      writeFileSync(path, mutated);
      return openShards(path);
    });
  },
  600_000,
);
