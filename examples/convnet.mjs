/** A convolutional network with a loss of its own: trained, kept, and exported to ONNX. `node examples/convnet.mjs [folder]` */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import * as e from 's3a/engine';
import { openSafetensors, writeSafetensors } from 's3a/safetensors';

const [side, classes, batch] = [12, 4, 32];

// Stripes in four directions, under noise that comes from a small generator with a seed.
let seed = 1;
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
};
const stripes = [(y, _) => y, (_, x) => x, (y, x) => y + x, (y, x) => y - x + side];
function draw(count) {
  const labels = Int32Array.from({ length: count }, () => Math.floor(random() * classes));
  const images = Float32Array.from({ length: count * side * side }, (_, i) => {
    const [image, pixel] = [Math.floor(i / side ** 2), i % side ** 2];
    const along = stripes[labels[image]](Math.floor(pixel / side), pixel % side);
    return (along % 4 < 2 ? 0.8 : 0.2) + 1.8 * (random() - 0.5);
  });
  return { images, labels };
}

// One function is traced for the training, for new images, and for the exported model.
const shapes = {
  'conv1.weight': [8, 1, 3, 3],
  'conv1.bias': [8],
  'conv2.weight': [16, 8, 3, 3],
  'conv2.bias': [16],
  'head.weight': [classes, 16],
  'head.bias': [classes],
};
const names = Object.keys(shapes);
function network(images, weights) {
  const first = e.relu(e.conv2d(images, weights['conv1.weight'], weights['conv1.bias'], { padding: 1 }));
  const pooled = e.maxPool2d(first, 2);
  const second = e.relu(e.conv2d(pooled, weights['conv2.weight'], weights['conv2.bias'], { padding: 1 }));
  return e.linear(e.mean(second, { axes: [2, 3] }), weights['head.weight'], weights['head.bias']); // [N, classes]
}

/** Focal loss (Lin et al. 2017): images that are right already count less. */
function focalLoss(logits, labels) {
  const crossEntropy = e.crossEntropy(logits, labels);
  const wrong = e.sub(1, e.exp(e.neg(crossEntropy)));
  return e.mean(e.mul(e.square(wrong), crossEntropy));
}

// The training step: loss, gradients, clipping and update are one program.
const weights = Object.fromEntries(names.map(name => [name, e.state(name, shapes[name])]));
const images = e.input('images', 'float32', [batch, 1, side, side]);
const labels = e.input('labels', 'int32', [batch]);
const [rate, step] = [e.input('rate', 'float32', []), e.input('step', 'float32', [])];
const loss = focalLoss(network(images, weights), labels);
const { gradients } = e.clipGradients(e.gradient(loss, weights), 1);
const training = await e.compile(e.program({ loss, ...e.adamW(weights, gradients, rate, step) }), { threads: 1 });
for (const name of names.filter(name => name.endsWith('weight'))) {
  const [rows, ...rest] = shapes[name];
  const fan = rest.reduce((product, n) => product * n, 1);
  const values = Float32Array.from({ length: rows * fan }, () => (2 * random() - 1) * Math.sqrt(3 / fan));
  await training.setState({ [name]: values });
}
for (let i = 1; i <= 200; i++) {
  const report = await training.run({ ...draw(batch), rate: 0.02 * (1 - i / 201), step: i });
  if (i % 50 === 0 || i === 1) console.log(`step ${i}: loss ${report.loss[0].toFixed(3)}`);
}
const trained = await training.getState(names);
await training.dispose();

// Kept, and read back.
const folder = process.argv[2] ?? (await mkdtemp(join(tmpdir(), 'convnet-')));
const path = join(folder, 'convnet.safetensors');
const tensors = names.map(name => [name, { dtype: 'F32', shape: shapes[name], data: trained[name] }]);
await writeSafetensors(path, Object.fromEntries(tensors));
const file = await openSafetensors(path);
const read = await Promise.all(names.map(async name => [name, e.constant(await file.readFloat32(name), shapes[name])]));
await file.close();

// The model alone, its weights inside, for any number of images: 251 stands for it.
const many = e.input('images', 'float32', [251, 1, side, side]);
const probabilities = e.softmax(network(many, Object.fromEntries(read)));
const free = [{ extent: 251, name: 'batch' }];
const model = e.toOnnx(e.program({ probabilities }), { free, standard: true });
await writeFile(join(folder, 'convnet.onnx'), model);

// New images, by ONNX Runtime as any other program has it.
const fresh = draw(100);
const session = await InferenceSession.create(model);
const found = await session.run({ images: new Tensor('float32', fresh.images, [100, 1, side, side]) });
const rows = Array.from({ length: 100 }, (_, i) => found.probabilities.data.subarray(i * classes, (i + 1) * classes));
const right = rows.filter((row, i) => row.indexOf(Math.max(...row)) === fresh.labels[i]).length;
console.log(`new images: ${right} of 100 right; ${folder} has convnet.safetensors and convnet.onnx`);
