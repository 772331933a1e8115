/**
 * `npm run demo:pretrain`: trains the embedded tiny CLIP from scratch with the project's own engine and writes it to
 * `demo/model`. Seeded; a run that is killed goes on from its last checkpoint.
 */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { saveCheckpoint } from '../src/clip/checkpoint/save.ts';
import { CLIP_MEAN, CLIP_STD } from '../src/clip/preprocess.ts';
import { createTokenizer } from '../src/clip/tokenizer/tokenizer.ts';
import { foldBatchNorm } from '../src/clip/towers/batch-norm.ts';
import type { ClipConfig, ResnetConfig } from '../src/clip/towers/config.ts';
import { compile, type Session, type TensorData } from '../src/engine/index.ts';
import { hashJson } from '../src/io/hash.ts';
import { openSafetensors, writeSafetensors } from '../src/io/safetensors.ts';
import { captionTexts } from './captions.ts';
import { loadConcepts } from './concepts.ts';
import { pretrainBatch } from './pretrain-data.ts';
import { initialState, maxLogScale, pretrainStep } from './pretrain-step.ts';
import { loadSprites, type Sprites } from './sprites.ts';
import { type StyleName, trainStyles, unseenStyles } from './styles.ts';
import { imageSize, textLength, tinyClipConfig, vocabularySize } from './tiny-clip.ts';
import { endToken, startToken, trainTokenizer } from './tokenizer-train.ts';
import { writeDemoVocabulary } from './vocabulary.ts';
import { zeroShotAccuracy } from './zero-shot.ts';

const usage = `npm run demo:pretrain -- [options]
  --steps N       training steps, 128 images each (default 7000)
  --seed N        seed of everything (default 0)
  --threads N     threads of the engine (default 2)
  --out DIR       where the model goes (default demo/model)
  --cache DIR     sprites and checkpoints (default .cache)
  --save-every N  steps from one checkpoint to the next (default 500)
  --fresh         forget the checkpoint of an earlier run`;

const batch = 128;
const peakRate = 3e-3;
const warmUp = 300;

interface Options {
  steps: number;
  seed: number;
  threads: number;
  saveEvery: number;
  out: string;
  cache: string;
  fresh: boolean;
}

async function pretrain(options: Options): Promise<void> {
  const { steps, seed, threads, saveEvery, out, cache } = options;

  // What there is to learn: concepts, their artwork, their captions' tokens.
  const concepts = loadConcepts();
  const tokenizerJson = trainTokenizer(captionTexts(concepts), vocabularySize);
  const tokenizer = createTokenizer(JSON.parse(tokenizerJson), tokenizerConfig);
  const token = (name: string): number => tokenizer.encode([name], 3).ids[1];
  const config = tinyClipConfig(token(startToken), token(endToken));
  const styles = await loadStyles(trainStyles, cache);
  log(`${concepts.length} concepts, ${styles.reduce((n, s) => n + s.count, 0)} drawings in ${styles.length} styles`);

  // One session for the whole training; a checkpoint of the same recipe goes on where it stopped.
  const session = await compile(pretrainStep(config, concepts.length, batch), { threads });
  const recipe = hashJson({ config, steps, seed, batch, peakRate, warmUp, tokenizerJson });
  const checkpoint = join(cache, `pretrain-${recipe.slice(0, 16)}.safetensors`);
  if (options.fresh) await rm(checkpoint, { force: true });
  const first = await restore(session, checkpoint, () => initialState(config, concepts, seed));
  if (first > 0) log(`going on from step ${first}`);

  // Drawing the next batch overlaps with the step that runs in the session's thread.
  const started = Date.now();
  const draw = (step: number) => pretrainBatch(concepts, styles, tokenizer, { seed, step, batch, share: step / steps });
  let next = draw(first);
  const recent = { loss: 0, accuracy: 0, count: 0 };
  for (let step = first; step < steps; step++) {
    const running = session.run({
      ...next,
      rate: Float32Array.of(rateAt(step, steps)),
      step: Float32Array.of(step + 1),
    });
    if (step + 1 < steps) next = draw(step + 1);
    const { loss, accuracy } = await running;
    recent.loss += Number(loss[0]);
    recent.accuracy += Number(accuracy[0]);
    recent.count++;
    if ((step + 1) % 50 === 0 || step + 1 === steps) {
      const rate = (step + 1 - first) / ((Date.now() - started) / 1000);
      log(
        `step ${step + 1}/${steps}  loss ${(recent.loss / recent.count).toFixed(3)}  ` +
          `batch top-1 ${((100 * recent.accuracy) / recent.count).toFixed(1)} %  ` +
          `${(rate * batch).toFixed(0)} images/s  ETA ${duration((steps - step - 1) / rate)}`,
      );
      Object.assign(recent, { loss: 0, accuracy: 0, count: 0 });
    }
    if ((step + 1) % saveEvery === 0 || step + 1 === steps) await save(session, checkpoint, step + 1);
  }

  // The table and the moments are thrown away, the batch norms folded; what is left is a CLIP.
  const trained = (await session.getState()) as Record<string, Float32Array>;
  await session.dispose();
  await saveCheckpoint(out, {
    config,
    weights: finalWeights(config, trained),
    tokenizerFiles: { tokenizer: JSON.parse(tokenizerJson), tokenizerConfig },
    preprocess: { size: imageSize, mean: CLIP_MEAN, std: CLIP_STD },
    dtype: 'float16',
  });
  await writeDemoVocabulary(out, concepts);
  const names = concepts.map(concept => concept.name);
  const unseen = await loadStyles(unseenStyles, cache);
  const accuracy = await zeroShotAccuracy(out, names, unseen, { seed: seed + 1, count: 4096, threads });
  for (const [style, share] of Object.entries(accuracy)) {
    log(`zero-shot over ${concepts.length} names, ${style} (never seen): ${(100 * share).toFixed(1)} %`);
  }
  log(`${out}: written after ${duration((Date.now() - started) / 1000)}`);
}

const tokenizerConfig = {
  tokenizer_class: 'CLIPTokenizer',
  bos_token: startToken,
  eos_token: endToken,
  unk_token: endToken,
  pad_token: endToken,
  model_max_length: textLength,
};

/** Linear warm-up, then a cosine to zero. */
function rateAt(step: number, steps: number): number {
  if (step < warmUp) return (peakRate * (step + 1)) / warmUp;
  return (peakRate * (1 + Math.cos((Math.PI * (step - warmUp)) / Math.max(1, steps - warmUp)))) / 2;
}

async function loadStyles(names: readonly StyleName[], cache: string): Promise<Sprites[]> {
  const concepts = loadConcepts();
  const loaded: Sprites[] = [];
  for (const name of names) loaded.push(await loadSprites(name, concepts, { cacheDir: join(cache, 'sprites') }));
  return loaded;
}

async function save(session: Session, path: string, step: number): Promise<void> {
  const values = (await session.getState()) as Record<string, Float32Array>;
  await mkdir(join(path, '..'), { recursive: true });
  await writeSafetensors(
    path,
    Object.fromEntries(
      Object.entries(values).map(([name, data]) => [name, { dtype: 'F32' as const, shape: [data.length], data }]),
    ),
    { step: String(step) },
  );
}

/** Sets the state from the checkpoint, or from the start when there is none; returns the steps already done. */
async function restore(session: Session, path: string, start: () => Record<string, Float32Array>): Promise<number> {
  if (!(await stat(path).catch(() => undefined))) {
    await session.setState(start());
    return 0;
  }
  const file = await openSafetensors(path);
  try {
    const values: Record<string, TensorData> = {};
    for (const name of file.names) values[name] = await file.readFloat32(name);
    await session.setState(values);
    return Number(file.metadata.step);
  } finally {
    await file.close();
  }
}

function finalWeights(config: ClipConfig, trained: Record<string, Float32Array>): Record<string, Float32Array> {
  const kept = Object.entries(trained).filter(([name]) => !name.startsWith('adamw.') && name !== 'table');
  const folded = foldBatchNorm(Object.fromEntries(kept), (config.vision_config as ResnetConfig).batch_norm_eps);
  return { ...folded, logit_scale: folded.logit_scale.map(value => Math.min(value, maxLogScale)) };
}

function duration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '7000' },
    seed: { type: 'string', default: '0' },
    threads: { type: 'string', default: '2' },
    'save-every': { type: 'string', default: '500' },
    out: { type: 'string', default: join('demo', 'model') },
    cache: { type: 'string', default: '.cache' },
    fresh: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(`${usage}\n`);
else {
  await pretrain({
    ...values,
    steps: Number(values.steps),
    seed: Number(values.seed),
    threads: Number(values.threads),
    saveEvery: Number(values['save-every']),
  });
}
