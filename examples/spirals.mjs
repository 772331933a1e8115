/** A small classifier, trained by itself with s3a/engine: which of three spirals is a point on? `node examples/spirals.mjs` */
import * as e from 's3a/engine';

// 600 points on three arms that wind around each other, a little beside their lines.
const points = 600;
const position = new Float32Array(2 * points);
const arm = Int32Array.from({ length: points }, (_, i) => i % 3);
for (let i = 0; i < points; i++) {
  const far = 0.1 + (0.9 * i) / points;
  const angle = 4 * far + (2 * Math.PI * arm[i]) / 3 + 0.15 * Math.sin(37 * i);
  position.set([far * Math.cos(angle), far * Math.sin(angle)], 2 * i);
}

// The classifier: tensors have shapes and no values, states are what it learns.
const shapes = { w1: [48, 2], b1: [48], w2: [48, 48], b2: [48], w3: [3, 48], b3: [3] };
const weights = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, e.state(name, shape)]));
const x = e.input('x', 'float32', [points, 2]);
const labels = e.input('labels', 'int32', [points]);
const hidden = e.gelu(e.linear(e.gelu(e.linear(x, weights.w1, weights.b1)), weights.w2, weights.b2));
const logits = e.linear(hidden, weights.w3, weights.b3); // [points, 3]
const loss = e.mean(e.crossEntropy(logits, labels));
const right = e.mean(e.cast(e.equal(e.argMax(logits, 1), labels), 'float32'));

// Its gradient and the update are more of the same graph, and all of it is one program.
const gradients = e.gradient(loss, weights);
const [rate, step] = [e.input('rate', 'float32', []), e.input('step', 'float32', [])];
const session = await e.compile(e.program({ loss, right, ...e.adamW(weights, gradients, rate, step) }), { threads: 1 });

// Any starting weights that differ will do; biases start at zero.
const start = ([rows, columns]) =>
  Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i + 1) / columns ** 0.5);
await session.setState({ w1: start(shapes.w1), w2: start(shapes.w2), w3: start(shapes.w3) });
for (let i = 1; i <= 300; i++) {
  const report = await session.run({ x: position, labels: arm, rate: 0.01 * (1 - i / 301), step: i });
  if (i % 100 === 0 || i === 1) {
    console.log(`step ${i}: loss ${report.loss[0].toFixed(3)}, ${(100 * report.right[0]).toFixed(0)} % right`);
  }
}
await session.dispose();
