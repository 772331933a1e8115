import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importNodeLlamaCpp } from '../../test/node-llama-cpp.ts';
import { sampleRequest, textModelCases } from '../../test/text-model.cases.ts';
import { tinyGguf, writeTinyGguf } from '../../test/tiny-gguf.ts';
import { createBudget } from './budget.ts';
import { gguf } from './gguf.ts';
import { checkGguf } from './gguf-file.ts';
import { answerSchema } from './structured.ts';
import type { TextModel } from './text-model.ts';

const request = { ...sampleRequest, schema: answerSchema(['apple', 'pear']) };
const installed = await importNodeLlamaCpp().then(
  () => true,
  () => false,
);
const why = installed ? '' : ' (skipped: node-llama-cpp is not installed)';

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3a-gguf-'));
  path = join(folder, 'tiny.gguf');
  await writeTinyGguf(path);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('checkGguf', () => {
  const refused = async (name: string, content: Buffer | string): Promise<string> => {
    const file = join(folder, name);
    await writeFile(file, content);
    return checkGguf(file).then(
      () => expect.fail('it was taken'),
      (error: Error) => {
        expect(error).toMatchObject({ code: 'LLM_GGUF' });
        expect(error.message).toContain(file);
        return error.message;
      },
    );
  };
  /** The header with one 64-bit number, or the version, replaced. */
  const changed = (at: number, value: bigint | number): Buffer => {
    const bytes = tinyGguf(0);
    if (typeof value === 'bigint') bytes.writeBigUInt64LE(value, at);
    else bytes.writeUInt32LE(value, at);
    return bytes;
  };

  it('tells files apart by what is in them, not by their names', async () => {
    const { id, bytes } = await checkGguf(path);
    expect(bytes).toBe(tinyGguf(0).length);
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    await writeTinyGguf(join(folder, 'copy.gguf'));
    expect((await checkGguf(join(folder, 'copy.gguf'))).id).toBe(id);
    await writeTinyGguf(join(folder, 'other.gguf'), 1);
    expect((await checkGguf(join(folder, 'other.gguf'))).id).not.toBe(id);
  });

  it('refuses what is no model, in one line', async () => {
    expect(await refused('empty', '')).toContain('does not begin with GGUF');
    expect(await refused('page', '<!doctype html><html><body>Sign in</body></html>')).toContain('does not begin');
    expect(await refused('short', 'GGUF\u0003\0\0\0')).toContain('does not begin');
    expect(await refused('old', changed(4, 1))).toContain('version is 1');
    expect(await refused('none', changed(8, 0n))).toContain('no tensors');
    expect(await refused('tensors', changed(8, 2n ** 64n - 1n))).toContain('promises 18446744073709551615 tensors');
    expect(await refused('entries', changed(16, 1n << 40n))).toContain('promises');
    await expect(checkGguf(join(folder, 'missing'))).rejects.toMatchObject({ code: 'READ' });
    await expect(checkGguf(folder)).rejects.toThrow(/no file|EISDIR/);
  });

  it('does not read a file of terabytes to the end', async () => {
    const file = join(folder, 'sparse.gguf');
    await writeFile(file, tinyGguf(0));
    await truncate(file, 2 ** 42).catch(() => truncate(file, 2 ** 33));
    const handle = await open(file);
    const { size } = await handle.stat();
    await handle.close();
    expect((await checkGguf(file)).bytes).toBe(size);
  });
});

describe('gguf', () => {
  it('says in one line how to get node-llama-cpp', async () => {
    const missing = Object.assign(new Error("Cannot find package 'node-llama-cpp' imported from x"), {
      code: 'ERR_MODULE_NOT_FOUND',
    });
    await expect(gguf({ path, load: () => Promise.reject(missing) })).rejects.toMatchObject({
      code: 'LLM_LIBRARY',
      message: 'GGUF models need the package node-llama-cpp, which is not installed',
      hint: expect.stringContaining('npm install node-llama-cpp@3'),
    });
    await expect(gguf({ path, load: async () => ({ getLlama: 1 }) })).rejects.toThrow(/not of version 3/);
    await expect(gguf({ path, load: () => Promise.reject(new Error('bad binary')) })).rejects.toThrow(/bad binary/);
  });

  it('checks the file before the library is loaded', async () => {
    const loaded = () => Promise.reject(new Error('loaded'));
    await expect(gguf({ path: join(folder, 'missing'), load: loaded })).rejects.toMatchObject({ code: 'READ' });
  });
});

describe.skipIf(!installed)(`gguf with the real library${why}`, () => {
  const models: TextModel[] = [];
  const openTiny = async (options = {}) => {
    const model = await gguf({ path, load: importNodeLlamaCpp, threads: 1, ...options });
    models.push(model);
    return model;
  };
  afterAll(async () => {
    for (const model of models) await model.dispose?.();
  });

  it('is held to the schema by its grammar', async () => {
    const model = await openTiny();
    for (let repeat = 0; repeat < 3; repeat++) {
      const { text } = await model.complete({ ...request, seed: repeat, repeat });
      const answer = JSON.parse(text) as Record<string, unknown>;
      expect(Object.keys(answer)).toEqual(['apple', 'pear']);
      for (const phrases of Object.values(answer)) {
        expect(phrases).toSatisfy((of: unknown) => Array.isArray(of) && of.length <= 8);
        for (const phrase of phrases as unknown[]) expect(phrase).toSatisfy((of: unknown) => typeof of === 'string');
      }
    }
  }, 120_000);

  it('answers other seeds with other words', async () => {
    const model = await openTiny();
    const texts = await Promise.all([1, 2, 3].map(seed => model.complete({ ...request, seed })));
    expect(new Set(texts.map(({ text }) => text)).size).toBe(3);
  }, 120_000);

  it('writes plain text where there is no schema', async () => {
    const model = await openTiny({ maxTokens: 20 });
    expect((await model.complete(sampleRequest)).text).not.toBe('');
  }, 120_000);

  it('says what is too long, too slow, or cannot be run', async () => {
    const long = { ...request, messages: [{ role: 'user' as const, content: 'word '.repeat(9000) }] };
    const model = await openTiny();
    await expect(model.complete(long)).rejects.toMatchObject({ code: 'LLM_REQUEST', scope: 'request' });
    const slow = await openTiny({ timeoutMs: 1 });
    await expect(slow.complete(request)).rejects.toMatchObject({ code: 'LLM_TIMEOUT', retryable: true });
    const torn = join(folder, 'torn.gguf');
    await writeFile(torn, tinyGguf(0).subarray(0, 20_000));
    const broken = await gguf({ path: torn, load: importNodeLlamaCpp });
    await expect(broken.complete(request)).rejects.toMatchObject({
      code: 'LLM_GGUF',
      scope: 'model',
      message: expect.stringMatching(/torn\.gguf cannot be run: \w+/),
    });
    const budget = await openTiny({ budget: createBudget(0) });
    await expect(budget.complete(request)).rejects.toMatchObject({ code: 'LLM_BUDGET' });
  }, 120_000);

  it('stops in the middle of an answer', async () => {
    const model = await openTiny();
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(model.complete(request, controller.signal)).rejects.toThrow('enough');
    expect((await model.complete(request)).text).not.toBe('');
  }, 120_000);

  textModelCases('gguf', () => openTiny(), { request });
});
