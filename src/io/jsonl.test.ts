import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { createJsonlWriter, readJsonl, writeJsonl } from './jsonl.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-jsonl-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function append(path: string, ...values: unknown[]): void {
  const writer = createJsonlWriter(path);
  for (const value of values) writer.write(value);
  writer.close();
}

test('appends and reads back, line separators inside strings included', async () => {
  const path = join(folder, 'new/metrics.jsonl');
  append(path, { step: 1, text: 'a\nb\u2028c' }, { step: 2 });
  append(path, { step: 3 });
  expect(await readJsonl(path)).toEqual([{ step: 1, text: 'a\nb\u2028c' }, { step: 2 }, { step: 3 }]);
});

test('a line torn at any byte is dropped on reading and cut off before appending', async () => {
  const path = join(folder, 'torn.jsonl');
  const whole = Buffer.from('{"step":1}\n{"step":2,"text":"ä"}');
  for (let length = 0; length <= whole.length; length++) {
    writeFileSync(path, whole.subarray(0, length));
    const kept = [{ step: 1 }, { step: 2, text: 'ä' }].slice(0, length < 10 ? 0 : length < whole.length ? 1 : 2);
    expect(await readJsonl(path)).toEqual(kept);
    append(path, { step: 9 });
    expect(await readJsonl(path)).toEqual([...kept, { step: 9 }]);
  }
});

test('a torn line longer than the block that is read backwards is cut off whole', async () => {
  const path = join(folder, 'long.jsonl');
  writeFileSync(path, `{"step":1}\n{"text":"${'x'.repeat(200_000)}`);
  append(path, { step: 2 });
  expect(readFileSync(path, 'utf8')).toBe('{"step":1}\n{"step":2}\n');
});

test('a broken line in the middle is an error with its number; empty lines are not', async () => {
  const path = join(folder, 'broken.jsonl');
  writeFileSync(path, '{"a":1}\n\n{oops}\n{"a":2}\n');
  await expect(readJsonl(path)).rejects.toMatchObject({
    code: 'JSON',
    message: expect.stringContaining('line 3') as string,
  });
  writeFileSync(path, Buffer.from([0x22, 0xff, 0x22, 0x0a]));
  await expect(readJsonl(path)).rejects.toThrow('line 1');
  await expect(readJsonl(join(folder, 'absent'))).rejects.toMatchObject({ code: 'READ' });
  await expect(readJsonl(folder)).rejects.toMatchObject({ code: 'READ' });
});

test('every list of JSON values comes back, whatever the block boundaries', async () => {
  const path = join(folder, 'any.jsonl');
  const padded = fc.tuple(fc.jsonValue(), fc.integer({ min: 0, max: 70_000 }));
  await fc.assert(
    fc.asyncProperty(fc.array(padded, { maxLength: 8 }), async items => {
      const values = items.map(([value, size]) => ({ value, padding: 'ü'.repeat(size) }));
      await writeJsonl(path, values);
      expect(await readJsonl(path)).toEqual(JSON.parse(JSON.stringify(values)));
    }),
    { seed: 5, numRuns: 40 },
  );
  expect(readdirSync(folder).filter(name => name.startsWith('.tmp-'))).toEqual([]);
});

test('lines of a writer that is killed are there', async () => {
  const path = join(folder, 'killed.jsonl');
  const module = new URL('../../dist/src/io/jsonl.js', import.meta.url).href;
  const script = `
    import { createJsonlWriter } from ${JSON.stringify(module)};
    const writer = createJsonlWriter(${JSON.stringify(path)});
    for (let step = 0; step < 5; step++) writer.write({ step });
    process.kill(process.pid, 'SIGKILL');
    await new Promise(done => setTimeout(done, 60_000));
  `;
  spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  appendFileSync(path, '{"st');
  expect(await readJsonl(path)).toEqual([0, 1, 2, 3, 4].map(step => ({ step })));
});
