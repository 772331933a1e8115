/** What npm would publish is enough: installed elsewhere, its programs, threads, data and types are there. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 's3a-package-'));
const installed = join(folder, 'node_modules', 's3a');
let files: string[];

/** What a program prints from a project that has nothing but the package and what it depends on. */
function run(source: string, kind: 'module' | 'commonjs' = 'module'): string {
  const args = [`--input-type=${kind}`, '--eval', source];
  return execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8', timeout: 50_000 });
}

/** What TypeScript says of a file of a project, in one of its ways of finding packages. */
function typeErrors(file: string, module: string, resolution: string): string {
  const settings = [
    '--strict',
    '--skipLibCheck',
    'false',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
  ];
  const place = ['--module', module, '--moduleResolution', resolution, '--target', 'es2022', '--types', 'node'];
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  try {
    execFileSync(process.execPath, [compiler, '--noEmit', ...settings, ...place, file], {
      cwd: folder,
      encoding: 'utf8',
    });
    return '';
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

beforeAll(() => {
  // Without its scripts, which would build dist/ anew under the tests that run from it.
  const listed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  files = (JSON.parse(listed) as { files: { path: string }[] }[])[0].files.map(({ path }) => path);
  for (const path of files) {
    mkdirSync(dirname(join(installed, path)), { recursive: true });
    cpSync(join(root, path), join(installed, path));
  }
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  // Dependencies find each other where they are; what is not named in package.json is not found.
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    mkdirSync(dirname(join(folder, 'node_modules', name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), 'dir');
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('holds no tests, and every page that its README leads to', () => {
  expect(files.filter(path => /\.test\.|goldens|\.ts$/.test(path) && !path.endsWith('.d.ts'))).toEqual([]);
  const links = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\((docs\/[^)#]+\.md)/g)];
  expect(links.length).toBeGreaterThan(5);
  for (const [, page] of links) expect(files).toContain(page);
});

it('trains with the engine in an installed package, and ends by itself without dispose', () => {
  const source = `
    import { adamW, compile, gradient, input, program, square, state, sub, mean } from 's3a/engine';
    const [w, x] = [state('w', [2]), input('x', 'float32', [2])];
    const loss = mean(square(sub(w, x)));
    const [rate, step] = [input('rate', 'float32', []), input('step', 'float32', [])];
    const session = await compile(program({ loss, ...adamW({ w }, gradient(loss, { w }), rate, step) }), { threads: 1 });
    for (let i = 1; i <= 200; i++) await session.run({ x: Float32Array.of(1, -2), rate: 0.05, step: i });
    const { w: found } = await session.getState();
    console.log([...found].map(value => value.toFixed(1)).join(' '));`;
  expect(run(source)).toBe('1.0 -2.0\n');
});

it('has the embedded model, the vocabularies and the command', () => {
  const source = `
    import { loadClip, loadVocabulary } from 's3a';
    import { openSafetensors } from 's3a/safetensors';
    const clip = await loadClip('demo');
    const [a, b] = [await clip.embedTexts(['a cat']), await clip.embedTexts(['a cat'])];
    console.log(a.length, a.every((value, i) => value === b[i]), (await loadVocabulary('in21k')).names.length);
    const file = await openSafetensors('node_modules/s3a/demo/model/model.safetensors');
    console.log(file.names.length > 10, typeof (await file.readFloat32(file.names[0]))[0]);
    await file.close();`;
  expect(run(source)).toBe('128 true 20071\ntrue number\n');
  const version = execFileSync(process.execPath, [join(installed, 'dist/src/cli/main.js'), '--version'], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(version.trim()).toBe(
    (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version,
  );
});

it('is imported by CommonJS, and required where Node can require modules', () => {
  const imported = `import('s3a/engine').then(e => console.log(typeof e.compile))`;
  expect(run(imported, 'commonjs')).toBe('function\n');
  if (process.features.require_module) {
    expect(run(`console.log(typeof require('s3a').fit, typeof require('s3a/engine').compile)`, 'commonjs')).toBe(
      'function function\n',
    );
  }
});

const program = `
import { createWriteStream } from 'node:fs';
import { fit, PRESETS, predict, S3aError, type FitOptions, type RunEvent, type RunSummary } from 's3a';
import * as e from 's3a/engine';
import { openSafetensors, writeSafetensors, type SafetensorsFile } from 's3a/safetensors';

for (const preset of [PRESETS.paper, PRESETS.cpu, PRESETS.quick]) {
  const options: FitOptions = { images: 'photos', out: 'runs/photos', ...preset };
  const onEvent = (event: RunEvent) => createWriteStream('log').write(event.type);
  const summary: RunSummary = await fit(options, { onEvent, signal: AbortSignal.timeout(1000) });
  for (const { file_name, confidence } of await predict(summary.folder, ['a.jpg'])) console.log(file_name, confidence);
}
const w: e.Tensor = e.state('w', [2]);
const weights: Record<string, e.Tensor> = { w };
const loss = e.sum(e.square(w));
const named: { w: e.Tensor } = e.gradient(loss, { w });
const listed: e.Tensor[] = e.gradient(loss, Object.values(weights));
const session: e.Session = await e.compile(e.program({ loss, ...named, ...e.gradient(loss, weights), other: listed[0]! }));
const results = (await session.run({ rate: 0.1 })) as { loss: Float32Array };
await writeSafetensors('w.safetensors', { w: { dtype: 'F32', shape: [2], data: results.loss } });
const file: SafetensorsFile = await openSafetensors('w.safetensors');
// @ts-expect-error a setting that is none
const wrong: FitOptions = { image: 'photos', out: 'runs/photos' };
console.log(wrong, new S3aError('CODE', 'message') instanceof e.S3aError, file.names.join());
`;

it.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('has types that a strict project can check: %s, %s', (module, resolution) => {
  writeFileSync(join(folder, 'program.ts'), program);
  expect(typeErrors('program.ts', module, resolution)).toBe('');
});

it('has what its examples import', () => {
  const examples = readdirSync(join(installed, 'examples')).filter(name => name.endsWith('.mjs'));
  expect(examples.length).toBeGreaterThan(0);
  for (const name of examples) {
    const imports = [...readFileSync(join(installed, 'examples', name), 'utf8').matchAll(/from '([^'.][^']*)'/g)];
    const known = /^(node:|s3a$|s3a\/(engine|safetensors)$|onnxruntime-node$)/;
    expect(imports.filter(([, module]) => !known.test(module))).toEqual([]);
  }
});
