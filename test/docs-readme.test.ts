/** What the README and the pages say is so: their example runs, their commands exist, the list of a run's files is whole. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { readTable } from '../src/io/table.ts';
import { drawImages } from './drawn-images.ts';
import { commandsOf } from './run-cli.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-readme-'));
afterAll(() => rmSync(folder, { recursive: true }));

const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'AGENTS.md',
  ...readdirSync(join(root, 'docs')).map(name => `docs/${name}`),
]
  .filter(path => path.endsWith('.md'))
  .map(path => ({ path, text: read(path) }));
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block);

it('the example runs, and docs/run-folder.md has every file and column that it makes', async () => {
  // From outside the package, as a reader has it; a tiny random CLIP stands for the real one.
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules', 's3a'), 'dir');
  cpSync(join(root, 'test/goldens/clip/quick_gelu'), join(folder, 'clip-vit-base-patch16'), { recursive: true });
  writeFileSync(
    join(folder, 'names.txt'),
    'disc: round, filled\nsquare: four corners\nstripes: lines\nring: round, hollow\n',
  );
  await drawImages(join(folder, 'photos'), 16);
  await drawImages(join(folder, 'new-photos'), 3);
  const [example] = blocks(read('README.md'), 'js');
  const args = ['--input-type=module', '--eval', example];
  const lines = execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8', timeout: 150_000 })
    .trim()
    .split('\n');
  const counts = lines.slice(0, -3).map(line => Number(/^(?:disc|square|stripes|ring) (\d+)$/.exec(line)?.[1]));
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(16);
  for (const line of lines.slice(-3)) expect(line).toMatch(/^image-00\d\.png (disc|square|stripes|ring) [\d.e-]+$/);

  const page = read('docs/run-folder.md');
  const run = join(folder, 'runs', 'photos');
  const files = readdirSync(run, { recursive: true, encoding: 'utf8' }).map(path => path.replaceAll('\\', '/'));
  expect(files).toContain('model/config.json');
  for (const file of files.filter(path => path.includes('.') && !path.startsWith('checkpoints/'))) {
    expect(page).toContain(`\`${file.replace(/^model\/(?=[^/]+$)/, '').replace(/^model\//, '')}\``);
  }
  for (const name of readdirSync(run).filter(path => path.endsWith('.parquet'))) {
    const [row] = await readTable(join(run, name));
    for (const column of Object.keys(row)) expect(page, name).toContain(`\`${column.replace('vote_3', 'vote_2')}\``);
  }
  const [metrics] = readFileSync(join(run, 'metrics.jsonl'), 'utf8').split('\n');
  for (const field of Object.keys(JSON.parse(metrics))) expect(page).toContain(`\`${field}\``);
}, 180_000);

it('the commands that the pages show exist, with their flags', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const flagsOf = new Map(commandsOf().map(command => [command.name(), command.options.map(option => option.long)]));
  let [seen, seenFlags] = [0, 0];
  for (const { path, text } of pages) {
    const shell = blocks(text, 'sh').join('');
    const inline = [...text.matchAll(/`((?:npx s3a|npm run|s3a) [^`\n]+)`/g)].map(([, command]) => command).join('\n');
    const all = `${shell}\n${inline}`;
    for (const [, verb, rest] of all.matchAll(/^(?:npx )?s3a ([a-z]+)(.*)$/gm)) {
      const flags = flagsOf.get(verb);
      expect(flags, `${path}: s3a ${verb}`).toBeDefined();
      for (const [flag] of rest.matchAll(/(?<=\s)--[a-z-]+/g)) {
        seenFlags++;
        if (flag !== '--help') expect(flags, `${path}: s3a ${verb} ${flag}`).toContain(flag);
      }
      seen++;
    }
    for (const [, script] of all.matchAll(/npm run (?:-s )?([\w:]+)/g)) {
      expect(Object.keys(scripts), `${path}: npm run ${script}`).toContain(script);
      seen++;
    }
  }
  expect(seen).toBeGreaterThan(20);
  expect(seenFlags).toBeGreaterThan(8);
});

it('settings in docs/method.md exist', () => {
  const known = new Set(commandsOf().flatMap(command => command.options.map(option => option.long)));
  const named = [...read('docs/method.md').matchAll(/`(--[a-z-]+)/g)].map(([, flag]) => flag);
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter(flag => !known.has(flag))).toEqual([]);
});

it('links inside the repository lead somewhere', () => {
  const links = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, target]) => join(dirname(path), target)),
  );
  expect(links.length).toBeGreaterThan(8);
  expect(links.filter(target => !existsSync(join(root, target)))).toEqual([]);
});

it('files that the map names are there', () => {
  const [tree] = [...read('AGENTS.md').matchAll(/^## Tree\n\n```\n(.*?)^```$/gms)].map(([, block]) => block);
  const missing: string[] = [];
  const open: string[] = [];
  for (const line of tree.split('\n').filter(text => text.trim() !== '')) {
    const depth = (line.length - line.trimStart().length) / 2;
    const names = line.trim().split(/ {2,}/)[0].split(' ');
    for (const name of names.filter(text => !text.includes('*'))) {
      const path = [...open.slice(0, depth), name].join('');
      if (!existsSync(join(root, path))) missing.push(path);
    }
    open.length = depth;
    if (names[0].endsWith('/')) open[depth] = names[0];
  }
  expect(missing).toEqual([]);
});
