import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { parseConfig } from '../config/schema.ts';
import { writeAtomic } from '../io/atomic-write.ts';
import { openShared } from './shared-run.ts';

const scratch = mkdtempSync(join(tmpdir(), 's3a-shared-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const config = (epochs: number) => ({ ...parseConfig({ epochs }), images: [scratch] });
const at = (...parts: string[]) => join(scratch, ...parts);

it('a run begins with the finished stages of another, and changes none of its files', async () => {
  const source = await openShared(at('source'), config(1), [], {});
  await mkdir(source.path('embeddings'), { recursive: true });
  const write = (run: typeof source, text: string) => async () => {
    await writeAtomic(run.path('embeddings/images.npy'), text);
    return { text };
  };
  await source.stage('embed', 'one', ['embeddings/images.npy'], write(source, 'first'));
  await source.stage('train', 'one', [], async () => ({}));
  await writeAtomic(source.path('model/config.json'), '{}');
  writeFileSync(source.path('metrics.jsonl'), '{}\n');

  const run = await openShared(at('run'), config(2), [at('source'), at('nowhere')], {});
  expect(run.config.epochs).toBe(2);
  expect(Object.keys(run.manifest.stages)).toEqual(['embed']);
  const inode = (path: string): number => statSync(at(path)).ino;
  expect(inode('run/embeddings/images.npy')).toBe(inode('source/embeddings/images.npy'));
  expect(() => statSync(at('run/model'))).toThrow('ENOENT');
  expect(() => statSync(at('run/metrics.jsonl'))).toThrow('ENOENT');

  // The same inputs: done before. Others: made anew, and only here.
  const same = await run.stage('embed', 'one', ['embeddings/images.npy'], write(run, 'never'));
  expect(same).toMatchObject({ skipped: true, info: { text: 'first' } });
  await run.stage('embed', 'two', ['embeddings/images.npy'], write(run, 'second'));
  expect(readFileSync(at('run/embeddings/images.npy'), 'utf8')).toBe('second');
  expect(readFileSync(at('source/embeddings/images.npy'), 'utf8')).toBe('first');

  // Opened again it is as it was left, whatever its source has become.
  const again = await openShared(at('run'), config(3), [at('source')], {});
  expect(again.config.epochs).toBe(3);
  expect(readFileSync(again.path('embeddings/images.npy'), 'utf8')).toBe('second');
});

it('what a killed process left of a folder is begun anew', async () => {
  await mkdir(at('broken', 'embeddings'), { recursive: true });
  writeFileSync(at('broken', 'embeddings', 'images.npy'), 'half');
  const run = await openShared(at('broken'), config(1), [], {});
  expect(() => statSync(run.path('embeddings/images.npy'))).toThrow('ENOENT');
});
