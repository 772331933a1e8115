/** The programs of docs/library.md run as they stand, and its TypeScript is of the types that the package has. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { drawImages } from './drawn-images.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(`${root}/docs/library.md`, 'utf8');
const folder = mkdtempSync(join(tmpdir(), 's3a-docs-library-'));
const blocks = (language: string): string[] =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text]) => text);
const [labelling, serving, searching] = blocks('js');
const run = (source: string): string =>
  execFileSync(process.execPath, ['--input-type=module', '--eval', source], {
    ...{ cwd: folder, encoding: 'utf8', timeout: 100_000, stdio: ['ignore', 'pipe', 'ignore'] },
  });

beforeAll(async () => {
  // From outside the package, as a reader has it.
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
  symlinkSync(root, join(folder, 'node_modules', 's3a'), 'dir');
  symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'), 'dir');
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  await drawImages(join(folder, 'photos'), 24);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('labels a folder, and serves what it has learnt', async () => {
  const said = run(labelling);
  expect(said).toMatch(
    /^[1-9]\d* names, 0 images could not be used\n24 labels, \d+ of them more likely right than not\n$/,
  );

  const server: ChildProcess = spawn(process.execPath, ['--input-type=module', '--eval', announcing(serving)], {
    ...{ cwd: folder, env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] },
  });
  try {
    const port = await new Promise<string>((resolve, reject) => {
      server.stdout!.once('data', (text: Buffer) => resolve(text.toString().trim()));
      server.once('exit', code => reject(new Error(`the server ended with ${code}`)));
    });
    const ask = (body: string | Uint8Array<ArrayBuffer>) =>
      fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body });
    const image = new Uint8Array(readFileSync(join(folder, 'photos', 'image-003.png')));
    const answers = await Promise.all(Array.from({ length: 8 }, async () => (await ask(image)).json()));
    const [{ label, confidence, top }] = answers as { label: string; confidence: number; top: { name: string }[] }[];
    expect(top[0].name).toBe(label);
    expect(confidence).toBeGreaterThan(0);
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    const refused = await ask('no image');
    expect([refused.status, await refused.text()]).toEqual([400, 'the image: not an image file (it holds text)']);
  } finally {
    server.kill();
  }
}, 150_000);

it('finds images by a text', () => {
  expect(run(searching)).toMatch(/^24 images, first image-\d{3}\.png\n$/);
});

it('shows TypeScript that is of the types of the package', () => {
  const shown = blocks('ts');
  expect(shown.length).toBeGreaterThan(1);
  const client = 'declare const myClient: { chat(messages: readonly object[], options: object): Promise<string> };\n';
  for (const [i, source] of shown.entries()) writeFileSync(join(folder, `shown-${i}.ts`), client + source);
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const settings = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'];
  const files = shown.map((_, i) => `shown-${i}.ts`);
  expect(() => execFileSync(process.execPath, [compiler, ...settings, ...files], { cwd: folder })).not.toThrow();
}, 120_000);

/** The server's program, which says where it listens. */
function announcing(source: string): string {
  return `${source}\nserver.on('listening', () => console.log(server.address().port));`;
}
