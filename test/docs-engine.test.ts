/** What docs/engine.md shows runs as it stands and prints what the page says; its list of operators is whole. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as ops from '../src/engine/ops/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(`${root}/docs/engine.md`, 'utf8');

it('prints what it says, from outside the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3a-docs-engine-'));
  try {
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(root, join(folder, 'node_modules', 's3a'), 'dir');
    const runtime = join('node_modules', 'onnxruntime-node');
    symlinkSync(join(root, runtime), join(folder, runtime), 'dir');
    const blocks = (language: string): string =>
      [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text).join('');
    expect(blocks('js')).toContain('import');
    const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', blocks('js')], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 50_000,
    });
    expect(printed).toBe(blocks('text'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('lists every operator', () => {
  const [table] = /\| kind \| operators \|\n.*?\n\n/s.exec(page)!;
  const listed = [...table.matchAll(/`(\w+)`/g)].map(([, name]) => name);
  expect(listed.sort()).toEqual(Object.keys(ops).sort());
});
