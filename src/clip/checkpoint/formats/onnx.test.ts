import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { S3aError } from '../../../errors.ts';
import { float16ToFloat32, float32ToFloat16 } from '../../../io/float16.ts';
import { readJson } from '../../../io/json.ts';
import { openOnnxFile } from '../../../io/onnx-file.ts';
import { openSafetensors } from '../../../io/safetensors.ts';
import { loadClip } from '../../clip.ts';
import { exportOnnx, PRECISIONS } from '../../export/onnx.ts';
import { type Checkpoint, clipParameters, loadCheckpoint } from '../checkpoint.ts';

const goldens = fileURLToPath(new URL('../../../../test/goldens/', import.meta.url));
const from = join(goldens, 'onnx-clip');
const folder = mkdtempSync(join(tmpdir(), 's3a-onnx-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unpack = (name: string): Buffer => gunzipSync(readFileSync(join(from, `${name}.gz`)));

/** A model folder in the layout of transformers.js with these files; `as` gives them other names. */
function modelOf(name: string, files: readonly string[], as: Readonly<Record<string, string>> = {}): string {
  const at = join(folder, name);
  mkdirSync(join(at, 'onnx'), { recursive: true });
  for (const file of ['config.json', 'preprocessor_config.json']) cpSync(join(from, file), join(at, file));
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(goldens, 'clip', 'gelu', file), join(at, file));
  for (const file of files) writeFileSync(join(at, 'onnx', as[file] ?? file), unpack(join('onnx', file)));
  return at;
}

/** The weights that were exported. */
async function truth(of = 'model.safetensors'): Promise<Map<string, Float32Array>> {
  const path = join(folder, 'truth.safetensors');
  writeFileSync(path, unpack(of));
  const file = await openSafetensors(path);
  const weights = new Map<string, Float32Array>();
  for (const name of file.names) weights.set(name, await file.readFloat32(name));
  await file.close();
  return weights;
}

async function weightsOf(checkpoint: Checkpoint): Promise<Record<string, Float32Array>> {
  return checkpoint.readWeights(clipParameters(checkpoint.config).map(({ name }) => name));
}

/** Bit for bit, and by hand: comparing arrays of this size in the assertion takes seconds. */
function expectSame(found: Readonly<Record<string, Float32Array>>, expected: ReadonlyMap<string, Float32Array>): void {
  for (const [name, values] of Object.entries(found)) {
    const wanted = expected.get(name);
    expect(values.length, name).toBe(wanted?.length);
    expect(
      values.every((value, i) => Object.is(value, wanted?.[i])),
      name,
    ).toBe(true);
  }
}

/** The largest distance of two weights, a name each. */
function distances(found: Readonly<Record<string, Float32Array>>, expected: ReadonlyMap<string, Float32Array>) {
  return Object.entries(found).map(([name, values]) => {
    const wanted = expected.get(name);
    expect(wanted?.length, name).toBe(values.length);
    return { name, most: values.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted?.[i] ?? NaN))), 0) };
  });
}

const towers = (precision: string): string[] => [`vision_model${precision}.onnx`, `text_model${precision}.onnx`];

describe('a CLIP of transformers, exported as optimum does', () => {
  test('has exactly its weights in the files of both towers, also those that are stored once for several', async () => {
    const expected = await truth();
    const checkpoint = await loadCheckpoint(modelOf('towers', towers('')));
    const { logit_scale: scale, ...weights } = await weightsOf(checkpoint);
    expect(Object.keys(weights).length).toBe(expected.size - 1);
    expectSame(weights, expected);
    expect(scale).toEqual(Float32Array.of(Math.log(100)));
    expect(checkpoint.notes).toEqual([expect.stringContaining('no logit_scale; similarities are multiplied by 100')]);
    expect(checkpoint.identity.filter(path => path.endsWith('.onnx')).length).toBe(2);
  });

  test('has exactly its weights in one file with external data, with the scale of its logits', async () => {
    const expected = await truth();
    const checkpoint = await loadCheckpoint(modelOf('whole', ['model.onnx', 'model.onnx_data']));
    const weights = await weightsOf(checkpoint);
    expect(Object.keys(weights).length).toBe(expected.size);
    expectSame(weights, expected);
    expect(checkpoint.notes).toEqual([]);
    expect(checkpoint.identity.map(path => path.slice(folder.length))).toContain('/whole/onnx/model.onnx_data');
  });

  test('has its weights rounded to half precision in the float16 files', async () => {
    const expected = await truth();
    const { logit_scale: _, ...weights } = await weightsOf(await loadCheckpoint(modelOf('half', towers('_fp16'))));
    let rounded = 0;
    for (const [name, values] of Object.entries(weights)) {
      const half = float16ToFloat32(float32ToFloat16(expected.get(name) ?? new Float32Array()));
      expectSame({ [name]: values }, new Map([[name, half]]));
      rounded += half.filter((value, i) => value !== expected.get(name)?.[i]).length;
    }
    expect(rounded).toBeGreaterThan(1000);
  });

  test.each(['_quantized', '_int8'])('has its weights within half a step in the 8-bit files (%s)', async precision => {
    const expected = await truth();
    const model = modelOf(`eight${precision}`, towers(precision));
    const checkpoint = await loadCheckpoint(model);
    const { logit_scale: _, ...weights } = await weightsOf(checkpoint);
    const steps = new Map<string, number>();
    for (const file of towers(precision)) {
      const onnx = await openOnnxFile(join(model, 'onnx', file));
      // The largest step of any channel, by the name that the quantiser gives to the scale.
      for (const name of onnx.names.filter(name => name.endsWith('_scale')))
        steps.set(name, Math.max(...(await onnx.readFloat32(name))));
      await onnx.close();
    }
    const largest = Math.max(...steps.values());
    const off = distances(weights, expected).filter(({ most }) => most > 0);
    for (const { name, most } of off)
      expect(most, name).toBeLessThanOrEqual(((steps.get(`${name}_scale`) ?? largest) / 2) * (1 + 1e-4));
    // All matrices and tables, but for the one that the exporter stored once and the quantiser left as it was.
    expect(off.length).toBe(2 * 12 + 2 + 2 + 2 - 2);
    expect(checkpoint.notes[0]).toContain('have weights of 8 bits: the floats that they stand for are near');
  });
});

async function embeddings(model: string) {
  const golden = await openSafetensors(join(from, 'golden.safetensors'));
  const of = (name: string) => golden.readFloat32(name);
  const clip = await loadClip(model, { threads: 1, batch: 4 });
  const texts = (await readJson(join(from, 'texts.json'))) as string[];
  const pixels = await of('pixels');
  const found = { image: await clip.embedImages(pixels), text: await clip.embedTexts(texts) };
  await clip.dispose();
  const width = clip.config.projection_dim;
  const wanted = { image: unit(await of('image'), width), text: unit(await of('text'), width) };
  return { found, wanted, width, of, close: golden.close };
}

function unit(x: Float32Array, width: number): Float32Array {
  return x.map((value, i) => value / Math.hypot(...x.subarray(i - (i % width), i - (i % width) + width)));
}

/** The least cosine of unit rows. */
function cosine(a: Float32Array, b: Float32Array, width: number): number {
  const rows = a.length / width;
  const dots = Array.from({ length: rows }, (_, row) =>
    a.subarray(row * width, (row + 1) * width).reduce((sum, value, i) => sum + value * b[row * width + i], 0),
  );
  return Math.min(...dots);
}

describe('embeddings from ONNX files', () => {
  test.each([
    ['towers', towers('')],
    ['whole', ['model.onnx', 'model.onnx_data']],
  ])('are those of transformers (%s)', async (name, files) => {
    const { found, wanted, close } = await embeddings(modelOf(`embed-${name}`, files));
    // The towers' own tolerance (towers.test.ts) on unit rows.
    expect(found.image).toBeAllclose(wanted.image, { rtol: 1e-5, atol: 3e-6 });
    expect(found.text).toBeAllclose(wanted.text, { rtol: 1e-5, atol: 3e-6 });
    await close();
  });

  test('are near those of transformers from float16', async () => {
    const { found, wanted, width, close } = await embeddings(modelOf('embed-half', towers('_fp16')));
    expect(cosine(found.image, wanted.image, width)).toBeGreaterThan(0.99999);
    expect(cosine(found.text, wanted.text, width)).toBeGreaterThan(0.99999);
    await close();
  });

  test.each(['_quantized', '_int8'])(
    'are from 8 bits those of transformers with the floats that these stand for, and near its own (%s)',
    async precision => {
      const { found, wanted, width, of, close } = await embeddings(modelOf(`embed${precision}`, towers(precision)));
      for (const kind of ['image', 'text'] as const) {
        const exact = unit(await of(`${kind}${precision}`), width);
        expect(found[kind], kind).toBeAllclose(exact, { rtol: 1e-5, atol: 3e-6 });
        expect(cosine(found[kind], wanted[kind], width), kind).toBeGreaterThan(0.998);
      }
      await close();
    },
  );
});

describe('of several files', () => {
  test('the best precision is read, and another one when its file is given', async () => {
    const expected = await truth();
    const at = modelOf('several', [...towers('_int8'), ...towers(''), ...towers('_fp16')]);
    const { logit_scale: _, ...best } = await weightsOf(await loadCheckpoint(at));
    expectSame(best, expected);
    const half = await weightsOf(await loadCheckpoint(join(at, 'onnx', 'text_model_fp16.onnx')));
    const name = 'visual_projection.weight';
    const rounded = float16ToFloat32(float32ToFloat16(expected.get(name) ?? new Float32Array()));
    expectSame({ [name]: half[name] }, new Map([[name, rounded]]));
  });

  test('each tower has the best of its own, where none is there of both', async () => {
    const expected = await truth();
    const weights = await weightsOf(
      await loadCheckpoint(modelOf('mixed', ['vision_model.onnx', 'text_model_fp16.onnx'])),
    );
    const vision = Object.entries(weights).filter(([name]) => name.startsWith('vis'));
    expect(vision.length).toBeGreaterThan(30);
    expectSame(Object.fromEntries(vision), expected);
    const name = 'text_projection.weight';
    const rounded = float16ToFloat32(float32ToFloat16(expected.get(name) ?? new Float32Array()));
    expectSame({ [name]: weights[name] }, new Map([[name, rounded]]));
  });

  test('they may lie beside config.json', async () => {
    const at = modelOf('flat', towers(''));
    for (const file of towers('')) renameSync(join(at, 'onnx', file), join(at, file));
    rmSync(join(at, 'onnx'), { recursive: true });
    const { logit_scale: _, ...weights } = await weightsOf(await loadCheckpoint(at));
    expectSame(weights, await truth());
  });
});

describe.each(['gelu', 'quick_gelu'])('the ONNX files that this program writes (%s)', name => {
  test('give their weights back: exactly, rounded to half precision, or within half a step', async () => {
    const original = await loadCheckpoint(join(goldens, 'clip', name));
    const weights = await weightsOf(original);
    const expected = new Map(Object.entries(weights));
    const at = join(folder, `own-${name}`);
    // A limit that puts the weights of the larger files beside them.
    await exportOnnx(join(at, 'onnx'), original.config, weights, PRECISIONS, { limit: 60_000 });
    for (const file of ['config.json', 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'])
      cpSync(join(goldens, 'clip', name, file), join(at, file));
    expect(readdirSync(join(at, 'onnx')).filter(file => !file.endsWith('.onnx')).length).toBeGreaterThan(0);

    // Of all that is there, the float32 file of both towers is the best.
    expectSame(await weightsOf(await loadCheckpoint(at)), expected);
    const { logit_scale: _, ...towersOnly } = weights;
    // The towers' files have no scale; it is then that of most trained models.
    const apart = new Map(expected).set('logit_scale', Float32Array.of(Math.log(100)));
    expectSame(await weightsOf(await loadCheckpoint(join(at, 'onnx', 'vision_model.onnx'))), apart);

    const half = await weightsOf(await loadCheckpoint(join(at, 'onnx', 'vision_model_fp16.onnx')));
    for (const [weight, values] of Object.entries(towersOnly))
      expect(half[weight], weight).toBeAllclose(values, { rtol: 2 ** -11, atol: 2 ** -25 });

    const eight = await weightsOf(await loadCheckpoint(join(at, 'onnx', 'model_quantized.onnx')));
    const onnx = await openOnnxFile(join(at, 'onnx', 'model_quantized.onnx'));
    for (const { name: weight, most } of distances(eight, expected)) {
      const steps = onnx.has(`${weight}_scale`) ? await onnx.readFloat32(`${weight}_scale`) : [0];
      expect(most, weight).toBeLessThanOrEqual((Math.max(...steps) / 2) * (1 + 1e-4));
    }
    await onnx.close();
  });
});

describe('a SigLIP of transformers, exported as optimum does', () => {
  const model = (name: string, file: string, as = file): string => {
    const at = join(folder, name);
    mkdirSync(join(at, 'onnx'), { recursive: true });
    for (const brought of ['spiece.model', 'tokenizer_config.json'])
      cpSync(join(goldens, 'clip', 'siglip', brought), join(at, brought));
    cpSync(join(from, 'siglip', 'config.json'), join(at, 'config.json'));
    writeFileSync(join(at, 'onnx', as), unpack(join('siglip', 'onnx', file)));
    return at;
  };

  test('has exactly its weights, scale and bias, and embeds images as it does', async () => {
    const expected = await truth('siglip/model.safetensors');
    const at = model('siglip', 'model.onnx');
    const checkpoint = await loadCheckpoint(at);
    const weights = await weightsOf(checkpoint);
    expect(Object.keys(weights).length).toBe(expected.size);
    expectSame(weights, expected);
    const golden = await openSafetensors(join(from, 'siglip', 'golden.safetensors'));
    const pixels = await openSafetensors(join(from, 'golden.safetensors'));
    const clip = await loadClip(at, { threads: 1, batch: 4 });
    const images = await clip.embedImages(await pixels.readFloat32('pixels'));
    expect(images).toBeAllclose(unit(await golden.readFloat32('image'), 8), { rtol: 1e-5, atol: 3e-6 });
    await clip.dispose();
    await golden.close();
    await pixels.close();
  });

  test('has its weights within half a step in 8 bits', async () => {
    const expected = await truth('siglip/model.safetensors');
    const at = model('siglip-8', 'model_quantized.onnx');
    const onnx = await openOnnxFile(join(at, 'onnx', 'model_quantized.onnx'));
    const scales = onnx.names.filter(name => name.endsWith('_scale') && name !== 'logit_scale');
    const steps = (await Promise.all(scales.map(name => onnx.readFloat32(name)))).flatMap(values => [...values]);
    await onnx.close();
    const off = distances(await weightsOf(await loadCheckpoint(at)), expected).filter(({ most }) => most > 0);
    expect(Math.max(...off.map(({ most }) => most))).toBeLessThanOrEqual((Math.max(...steps) / 2) * (1 + 1e-4));
    expect(off.length).toBeGreaterThan(15);
  });

  test('and its towers alone are refused, for want of the bias', async () => {
    const at = model('siglip-towers', 'model.onnx', 'vision_model.onnx');
    const original = await loadCheckpoint(model('siglip-again', 'model.onnx'));
    await exportOnnx(join(at, 'onnx'), original.config, await weightsOf(original), ['float32']);
    rmSync(join(at, 'onnx', 'model.onnx'));
    expect(await refusal(at)).toContain('have no logit_scale and logit_bias, which a SigLIP needs');
  });

  test('that this program wrote gives its weights back', async () => {
    const expected = await truth('siglip/model.safetensors');
    const at = model('siglip-own', 'model.onnx');
    const original = await loadCheckpoint(at);
    await exportOnnx(join(at, 'onnx'), original.config, Object.fromEntries(expected), ['float32', 'int8']);
    expectSame(await weightsOf(await loadCheckpoint(at)), expected);
    const eight = distances(await weightsOf(await loadCheckpoint(join(at, 'onnx', 'model_quantized.onnx'))), expected);
    expect(Math.max(...eight.map(({ most }) => most))).toBeLessThan(0.05);
  });
});

async function refusal(model: string): Promise<string> {
  const error: unknown = await loadCheckpoint(model).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(S3aError);
  expect((error as S3aError).message).not.toContain('\n');
  return (error as S3aError).message;
}

describe('what is no model of both towers is one clear line', () => {
  const changed = async (name: string, change: (config: Record<string, Record<string, unknown>>) => void) => {
    const at = modelOf(name, towers(''));
    const config = (await readJson(join(at, 'config.json'))) as Record<string, Record<string, unknown>>;
    change(config);
    writeFileSync(join(at, 'config.json'), JSON.stringify(config));
    return refusal(at);
  };

  test('one tower alone, or files that do not exist', async () => {
    const lone = modelOf('lone', ['vision_model.onnx']);
    expect(await refusal(lone)).toContain('has ONNX weights of the image tower, but none of the text tower');
    expect(await refusal(join(lone, 'onnx', 'vision_model.onnx'))).toContain('but none of the text tower');
    expect(await refusal(modelOf('none', []))).toContain('there is no model at');
  });

  test('weights of 4 bits, by the name of the file or by what is in it', async () => {
    const files = ['vision_model_q4.onnx', 'text_model.onnx'];
    const as = { 'text_model.onnx': 'text_model_q4.onnx' };
    expect(await refusal(modelOf('four', files, as))).toContain(
      'vision_model_q4.onnx has weights of 4 bits, which are too',
    );
    const hidden = modelOf('hidden', files, { 'vision_model_q4.onnx': 'vision_model.onnx' });
    expect(await refusal(hidden)).toContain("has 4-bit weights (MatMulNBits at node '/visual_projection/MatMul");
  });

  test('a configuration of another model', async () => {
    const fewer = await changed('fewer', ({ vision_config: vision }) =>
      Object.assign(vision, { num_hidden_layers: 1 }),
    );
    expect(fewer).toMatch(
      /holds the weights vision_model\.encoder\.layers\.1\..* which its configuration has no place for/,
    );
    const more = await changed('more', ({ text_config: text }) => Object.assign(text, { num_hidden_layers: 3 }));
    expect(more).toMatch(/lacks the weights text_model\.encoder\.layers\.2\..* and \d+ more/);
    const wide = await changed('wide', ({ text_config: text }) => Object.assign(text, { intermediate_size: 24 }));
    expect(wide).toContain('has text_model.encoder.layers.0.mlp.fc1.weight of shape [8, 20], not [8, 24]');
  });

  test('towers that have changed places', async () => {
    const swapped = { 'vision_model.onnx': 'text_model.onnx', 'text_model.onnx': 'vision_model.onnx' };
    expect(await refusal(modelOf('swapped', towers(''), swapped))).toContain(
      'which its configuration has no place for',
    );
  });

  test('an export that says of two matrices that they are one, as it stores equal biases once', async () => {
    const files = ['vision_model_dynamo.onnx', 'text_model.onnx'];
    const dynamo = modelOf('dynamo', files, { 'vision_model_dynamo.onnx': 'vision_model.onnx' });
    expect(await refusal(dynamo)).toMatch(/says of two matrices, val_\d+ and val_\d+, that they are vision_model/);
  });

  test('external data that is missing or cut', async () => {
    const whole = modelOf('apart', ['model.onnx']);
    expect(await refusal(whole)).toContain('model.onnx_data, which holds weights of');
    writeFileSync(join(whole, 'onnx', 'model.onnx_data'), unpack('onnx/model.onnx_data').subarray(0, -100));
    expect(await refusal(whole)).toContain('but model.onnx_data has');
  });
});
