/** Imports never run upward: every room of src uses only the rooms before it, and src nothing beside it. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

/** Folders and files right in src, each after everything that it may import. */
const ORDER = [
  'errors.ts',
  'random.ts',
  'worker-url.ts',
  'wasm.ts',
  'engine',
  'io',
  'vocab',
  'images',
  'hub',
  'clip',
  'llm',
  'track',
  'discover',
  'train',
  'evaluate',
  'protocols',
  'config',
  'run',
  'benchmark',
  // The library's index; the command line goes to the rooms themselves.
  'index.ts',
  'server',
  'cli',
];

const root = fileURLToPath(new URL('..', import.meta.url));

/** One line for each import that runs upward, out of src, or without `.ts`; `sources` maps paths in src to texts. */
function wrongImports(sources: ReadonlyMap<string, string>): string[] {
  const wrong: string[] = [];
  for (const [file, text] of sources) {
    const isTest = file.endsWith('.test.ts');
    const from = ORDER.indexOf(roomOf(file));
    if (from < 0) wrong.push(`${file}: the room ${roomOf(file)} is not in the order`);
    for (const specifier of relativeImports(text)) {
      const target = join('src', dirname(file), specifier).split(sep).join('/');
      const where = `${file} imports ${target}`;
      if (!target.startsWith('src/')) {
        // Tests share helpers; the program must not need them.
        if (!(isTest && target.startsWith('test/'))) wrong.push(`${where}, outside src`);
        continue;
      }
      const to = ORDER.indexOf(roomOf(target.slice('src/'.length)));
      if (to < 0 || to > from) wrong.push(`${where}, which is above it`);
      if (!isTest && target.endsWith('.test.ts')) wrong.push(`${where}, a test`);
      if (!target.endsWith('.ts')) wrong.push(`${where}, without .ts`);
    }
  }
  return wrong;
}

function roomOf(path: string): string {
  return path.split('/')[0];
}

/** `from '…'`, `import '…'` and `import('…')` of relative paths, types included. */
function relativeImports(text: string): string[] {
  return [...text.matchAll(/\b(?:from\s+|import\s*\(?\s*)['"](\.[^'"]*)['"]/g)].map(([, specifier]) => specifier);
}

it('src keeps the order of its rooms', () => {
  const paths = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(path =>
    path.endsWith('.ts'),
  );
  const sources = new Map(
    paths.map(path => [path.split(sep).join('/'), readFileSync(join(root, 'src', path), 'utf8')]),
  );
  // Enough of both that an empty folder or an expression that matches nothing does not pass.
  expect(sources.size).toBeGreaterThan(100);
  expect([...sources.values()].flatMap(relativeImports).length).toBeGreaterThan(400);
  expect(wrongImports(sources)).toEqual([]);
});

it('says what is wrong', () => {
  const wrong = wrongImports(
    new Map([
      ['io/npy.ts', "import type { Clip } from '../clip/clip.ts';\nimport { S3aError } from '../errors.ts';"],
      ['engine/a.ts', "import { x } from './b';\nexport { y } from '../../demo/y.ts';\nawait import('./a.test.ts');"],
      ['engine/a.test.ts', "import '../../test/setup.ts';\nimport '../../bench/main.ts';"],
      ['clip/c.ts', "import { z } from '../io/npy.ts';\nimport sharp from 'sharp';"],
      ['attic/d.ts', ''],
    ]),
  );
  expect(wrong).toEqual([
    'io/npy.ts imports src/clip/clip.ts, which is above it',
    'engine/a.ts imports src/engine/b, without .ts',
    'engine/a.ts imports demo/y.ts, outside src',
    'engine/a.ts imports src/engine/a.test.ts, a test',
    'engine/a.test.ts imports bench/main.ts, outside src',
    'attic/d.ts: the room attic is not in the order',
  ]);
});
