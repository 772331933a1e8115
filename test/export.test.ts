/** An exported run gives the labels of `s3a predict` in transformers.js, transformers and open_clip. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  AutoProcessor,
  CLIPVisionModelWithProjection,
  env,
  pipeline,
  RawImage,
  type Tensor,
  type ZeroShotImageClassificationPipeline,
} from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadCheckpoint } from '../src/clip/checkpoint/checkpoint.ts';
import { readNpyFloat32 } from '../src/io/npy.ts';
import { openSafetensors } from '../src/io/safetensors.ts';
import { type ExportReport, exportModel } from '../src/run/export.ts';
import { predict } from '../src/run/predict.ts';
import { agreement, blocksOf, type Exported, makeExport, TEMPLATE } from './export-fixture.ts';
import { s3a } from './run-cli.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
let made: Exported;
let target: string;
beforeAll(async () => {
  made = await makeExport();
  target = join(made.folder, 'photos-clip');
  env.allowRemoteModels = false;
  env.localModelPath = made.folder;
}, 120_000);
afterAll(() => rm(made.folder, { recursive: true, force: true }));

describe('the run', () => {
  it('is one whose labels tell something', () => {
    for (const predictions of [made.predictions, made.sized]) {
      expect(predictions.length).toBe(50);
      expect(new Set(predictions.map(({ label }) => label)).size).toBeGreaterThanOrEqual(4);
    }
  });

  it('is predicted from the export as from the run', async () => {
    const predictions = await predict(target, join(made.folder, 'images'), { threads: 1 });
    expect(predictions).toEqual(made.predictions);
  });
});

describe('transformers.js in Node', () => {
  // 8 bits move an image that lies between two names; and so does a resize that is not Pillow's.
  describe.each([
    ['fp32', 'sized', 1],
    ['fp16', 'sized', 1],
    ['q8', 'sized', 0.9],
    ['fp32', 'images', 0.9],
  ] as const)('%s, %s', (dtype, set, share) => {
    const wanted = () => (set === 'sized' ? made.sized : made.predictions);
    const paths = () => wanted().map(({ file_name }) => join(made.folder, set, file_name));

    it('zero-shot-image-classification', async () => {
      const options = { dtype, device: 'cpu' } as const;
      const classify = (await pipeline(
        'zero-shot-image-classification',
        'photos-clip',
        options,
      )) as ZeroShotImageClassificationPipeline;
      const answers = await classify(paths(), made.names, { hypothesis_template: TEMPLATE });
      await classify.dispose();
      const labels = (answers as { label: string }[][]).map(([best]) => best.label);
      expect(agreement(labels, wanted())).toBeGreaterThanOrEqual(share);
    });

    it('the image tower times prototypes.npy', async () => {
      const { data: prototypes, shape } = await readNpyFloat32(join(target, 'prototypes.npy'));
      const processor = await AutoProcessor.from_pretrained('photos-clip');
      const tower = await CLIPVisionModelWithProjection.from_pretrained('photos-clip', { dtype, device: 'cpu' });
      const images = await Promise.all(paths().map(path => RawImage.read(path)));
      const { image_embeds } = (await tower(await processor(images))) as { image_embeds: Tensor };
      await tower.dispose();
      const labels = images.map((_, row) => {
        const scores = made.names.map((_name, k) => {
          let sum = 0;
          for (let i = 0; i < shape[1]; i++) {
            sum += (image_embeds.data as Float32Array)[row * shape[1] + i] * prototypes[k * shape[1] + i];
          }
          return sum;
        });
        return made.names[scores.indexOf(Math.max(...scores))];
      });
      expect(agreement(labels, wanted())).toBeGreaterThanOrEqual(share);
    });
  });

  it('the snippets of docs/export.md print the label of the image', async () => {
    const blocks = (await blocksOf('export.md', 'js')).filter(block => block.includes("from 'node:fs'"));
    expect(blocks.length).toBe(2);
    await mkdir(join(made.folder, 'node_modules'), { recursive: true });
    await symlink(join(root, 'node_modules', '@huggingface'), join(made.folder, 'node_modules', '@huggingface'), 'dir');
    for (const block of blocks) {
      const args = ['--input-type=module', '--eval', block];
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: made.folder, timeout: 50_000 });
      expect(stdout.trim()).toBe(made.predictions[0].label);
    }
  }, 120_000);
});

const python = process.env.S3A_PYTHON;
describe('Python (S3A_PYTHON names one with transformers, open_clip_torch and torchvision)', () => {
  it.skipIf(!python)(
    'transformers, open_clip, ONNX Runtime, and the snippets of docs/export.md',
    async () => {
      const predictions = join(made.folder, 'predictions.json');
      await writeFile(predictions, JSON.stringify(made.predictions));
      const args = [
        'scripts/check-export.py',
        target,
        join(made.folder, 'images'),
        predictions,
        TEMPLATE,
        'docs/export.md',
      ];
      const { stdout } = await promisify(execFile)(python!, args, { cwd: root, timeout: 280_000, maxBuffer: 1 << 26 });
      const results = JSON.parse(stdout) as Record<string, { agreement?: number; cosine?: number }> & {
        page: { printed: string[]; label: string };
      };
      const { page, ...ways } = results;
      expect(Object.keys(ways)).toEqual(
        expect.arrayContaining([
          'CLIPModel, prototypes, pil',
          'CLIPModel, prototypes, torchvision',
          'CLIPVisionModelWithProjection, prototypes',
          'pipeline, folder',
          'pipeline, hub cache',
          'open_clip local-dir, prototypes',
          'open_clip local-dir, texts',
          'open_clip hf-hub, prototypes',
        ]),
      );
      for (const [way, { agreement: found, cosine }] of Object.entries(ways)) {
        const rough = way.includes('quantized');
        if (found !== undefined) expect(found, way).toBeGreaterThanOrEqual(rough ? 0.9 : 1);
        if (cosine !== undefined) expect(cosine, way).toBeGreaterThan(rough ? 0.99 : 0.9999);
      }
      expect(page.printed).toEqual([page.label, page.label, page.label]);
    },
    300_000,
  );
});

describe('the folder', () => {
  it('holds what docs/export.md says', async () => {
    const page = await readFile(join(root, 'docs/export.md'), 'utf8');
    const found = readdirSync(target, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).slice(target.length + 1));
    expect(found.length).toBe(22);
    for (const file of found) {
      expect(page).toContain(`\`${file.replace(/\w+_(fp16|quantized)\.onnx$/, '*_$1.onnx')}\``);
    }
  });

  it('has a card with its recipe and no path of this machine', async () => {
    const card = await readFile(join(target, 'README.md'), 'utf8');
    expect(card).toMatch(
      /^---\nlicense: mit\npipeline_tag: zero-shot-image-classification\nlibrary_name: transformers\n/,
    );
    expect(card).toContain('tuned by s3a on 50 unlabelled images');
    expect(card).toContain('| epochs | 2 |');
    expect(card).toContain('`a photo of a {}.`');
    for (const name of made.names) expect(card).toContain(`| ${name} |`);
    expect(card).not.toContain(made.folder);
    expect(card).not.toContain(root);
  });

  it('is not replaced unless asked, and never when it is something else', async () => {
    const run = join(made.folder, 'run');
    await expect(exportModel(run, { out: target })).rejects.toThrow(/is there already/);
    await expect(exportModel(run, { out: run, overwrite: true })).rejects.toThrow(/holds something else than a model/);
    await expect(exportModel(run, { out: join(made.folder, 'photo.png') })).rejects.toThrow(/is a file/);
    await expect(exportModel(run, { out: join(made.folder, 'x'), license: 'MIT\nx: y' })).rejects.toThrow(
      /no name of a licence/,
    );
    expect(existsSync(join(made.folder, 'x'))).toBe(false);
  });

  it('appears whole or not at all, and what a killed export left goes away', async () => {
    const out = join(made.folder, 'stopped');
    await mkdir(join(made.folder, '.stopped.new-999999999'));
    await mkdir(join(made.folder, '.stopped.new-1x'));
    const stop = new AbortController();
    const onEvent = (event: { type: string }): void => {
      if (event.type === 'progress') stop.abort(new Error('stopped'));
    };
    const run = join(made.folder, 'run');
    await expect(exportModel(run, { out }, { onEvent, signal: stop.signal })).rejects.toThrow('stopped');
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(made.folder).filter(name => name.startsWith('.'))).toEqual(['.stopped.new-1x']);
    await rm(join(made.folder, '.stopped.new-1x'), { recursive: true });
  });

  it('is made by the command, which says what it wrote', async () => {
    const out = join(made.folder, 'by-command');
    const args = ['export', join(made.folder, 'run'), '--out', out, '--onnx', 'int8'];
    const { code, out: printed } = await s3a(...args, '--json');
    expect(code).toBe(0);
    const report = JSON.parse(printed) as ExportReport;
    expect(report).toMatchObject({ folder: out, format: 'transformers', role: 'teacher', classes: made.names.length });
    expect(report.files.filter(({ name }) => name.startsWith('onnx/')).map(({ name }) => name)).toEqual([
      'onnx/model_quantized.onnx',
      'onnx/text_model_quantized.onnx',
      'onnx/vision_model_quantized.onnx',
    ]);
    expect(report.files.every(({ bytes }) => bytes > 0)).toBe(true);
    const again = await s3a(...args, '--overwrite');
    expect(again.code).toBe(0);
    expect(again.out).toMatch(new RegExp(`^the teacher with ${made.names.length} classes in `, 'm'));
    const wrong = await s3a(...args.slice(0, -1), 'int4');
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain('It must be none, or some of float32, float16, int8.');
  });

  it('can be the student, in half precision, without ONNX', async () => {
    const out = join(made.folder, 'student');
    const options = { out, role: 'student', dtype: 'float16', onnx: [] } as const;
    for (const overwrite of [false, true]) {
      expect(await exportModel(join(made.folder, 'run'), { ...options, overwrite })).toMatchObject({ role: 'student' });
    }
    expect(existsSync(join(out, 'onnx'))).toBe(false);
    expect(readdirSync(made.folder).filter(name => name.startsWith('.'))).toEqual([]);
    const weight = 'vision_model.post_layernorm.weight';
    const checkpoints = join(made.folder, 'run', 'checkpoints');
    const saved = await openSafetensors(
      join(checkpoints, readdirSync(checkpoints).find(name => name.endsWith('.safetensors'))!),
    );
    const student = await saved.readFloat32(`student.${weight}`);
    await saved.close();
    const exported = (await (await loadCheckpoint(out)).readWeights([weight]))[weight];
    expect(exported).toBeAllclose(student, { rtol: 2 ** -11, atol: 1e-7 });
    const teacher = (await (await loadCheckpoint(target)).readWeights([weight]))[weight];
    expect(exported).not.toEqual(teacher);
  });

  it('has no names when the model has none, and says when Python cannot load it', async () => {
    const warnings: string[] = [];
    const onEvent = (event: { type: string; message?: string }): void => {
      if (event.type === 'warning') warnings.push(event.message ?? '');
    };
    const out = join(made.folder, 'demo');
    const report = await exportModel('demo', { out, onnx: ['float16'] }, { onEvent });
    expect(report).toMatchObject({ classes: 0, role: null });
    expect(warnings.join()).toContain('transformers for Python has no s3a_resnet image tower');
    expect(await readFile(join(out, 'README.md'), 'utf8')).toContain('library_name: transformers.js');
    await expect(exportModel('demo', { out, overwrite: true, openClip: true })).rejects.toThrow(
      /open_clip has no form/,
    );
    await expect(exportModel('demo', { out, overwrite: true, role: 'teacher' })).rejects.toThrow(/nothing was trained/);
    // The tower runs in transformers.js all the same.
    const tower = await CLIPVisionModelWithProjection.from_pretrained('demo', { dtype: 'fp16', device: 'cpu' });
    const processor = await AutoProcessor.from_pretrained('demo');
    const { image_embeds } = (await tower(await processor(await RawImage.read(join(made.folder, 'photo.png'))))) as {
      image_embeds: Tensor;
    };
    expect(image_embeds.dims).toEqual([1, 128]);
    await tower.dispose();
  });
});
