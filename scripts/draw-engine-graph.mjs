/**
 * Draws docs/engine-graph.svg: the program of docs/engine.md, one box a node as the engine traced it.
 * Run after a build: `node scripts/draw-engine-graph.mjs > docs/engine-graph.svg`.
 */
import { gemm, gradient, input, mean, mul, program, square, state, sub, within } from 's3a/engine';

const x = input('x', 'float32', [4, 2]);
const y = input('y', 'float32', [4, 1]);
const w = state('w', [1, 2]);
const b = state('b', [1]);
const loss = mean(square(sub(gemm(x, w, b, { transB: true }), y)));
const [dw, db] = gradient(loss, [w, b]);
const rate = input('rate', 'float32', []);
const next = within('update', () => ({ w: sub(w, mul(rate, dw)), b: sub(b, mul(rate, db)) }));
const { inputs, nodes, outputs } = program({ loss, ...next });

// A box for each input, node and output, and the boxes that feed it.
const makers = new Map();
const boxes = [];
const box = (name, kind, from, shape) => boxes.push({ name, kind, from, shape: `[${shape.join(', ')}]` }) - 1;
for (const [name, tensor] of inputs)
  makers.set(tensor, box(name, tensor.source.state ? 'state' : 'input', [], tensor.shape));
for (const node of nodes) {
  const from = node.inputs.filter(tensor => makers.has(tensor)).map(tensor => makers.get(tensor));
  const [first] = node.outputs;
  const index = box(node.operator, node.place || 'forward', from, first.shape);
  for (const tensor of node.outputs) makers.set(tensor, index);
}
for (const [name, tensor] of outputs)
  box(inputs.has(name) ? `${name}, next` : name, 'output', [makers.get(tensor)], tensor.shape);

// Columns by the longest way from an input; an input stands right before the first that reads it.
for (const one of boxes)
  one.column = one.from.length === 0 ? 0 : 1 + Math.max(...one.from.map(f => boxes[f].column), 0);
for (const [i, one] of boxes.entries()) {
  const readers = boxes.filter(other => other.from.includes(i));
  if (one.from.length === 0 && readers.length > 0) one.column = Math.min(...readers.map(reader => reader.column)) - 1;
}
const count = 1 + Math.max(...boxes.map(({ column }) => column));
const columns = Array.from({ length: count }, (_, column) => [...boxes.keys()].filter(i => boxes[i].column === column));
const highest = Math.max(...columns.map(column => column.length));
for (const column of columns) {
  const mean = i => boxes[i].from.reduce((sum, f) => sum + (boxes[f].row ?? 0), 0) / (boxes[i].from.length || 1);
  column.sort((p, q) => (boxes[p].from.length && boxes[q].from.length ? mean(p) - mean(q) : p - q));
  for (const [at, i] of column.entries()) boxes[i].row = at + (highest - column.length) / 2;
}

const [WIDE, HIGH, RIGHT, DOWN] = [92, 40, 112, 58];
const left = i => 20 + RIGHT * boxes[i].column;
const top = i => 56 + DOWN * boxes[i].row;
const [width, height] = [RIGHT * columns.length + 20, 56 + DOWN * highest + 4];
const colours = {
  input: '#f6f8fa #818b98',
  state: '#eaeef2 #57606a',
  forward: '#ddf4ff #0969da',
  backward: '#fff8c5 #9a6700',
  update: '#fbefff #8250df',
  output: '#dafbe1 #1a7f37',
};
const out = [
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">`,
  '  <title id="title">The program of a training step: inputs and states, forward nodes, the gradient as more nodes, and the update</title>',
  '  <style>text { font-family: -apple-system, "Segoe UI", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; text-anchor: middle; font-size: 13px; fill: #1f2328 } .shape { font-size: 10.5px; fill: #59636e } path { fill: none; stroke: #8c959f; stroke-width: 1.2 }</style>',
  `  <rect width="${width}" height="${height}" fill="#ffffff"/>`,
];
Object.entries(colours).forEach(([kind, pair], i) => {
  const [fill, stroke] = pair.split(' ');
  out.push(`  <rect x="${20 + 100 * i}" y="16" width="14" height="14" rx="3" fill="${fill}" stroke="${stroke}"/>`);
  out.push(`  <text x="${40 + 100 * i}" y="28" style="text-anchor: start">${kind}</text>`);
});
for (const [i, { from }] of boxes.entries()) {
  for (const f of from) {
    const [x1, y1, x2, y2] = [left(f) + WIDE, top(f) + HIGH / 2, left(i), top(i) + HIGH / 2];
    out.push(
      `  <path d="M${x1} ${y1}C${x1 + 14 + (x2 - x1) / 4} ${y1} ${x2 - 14 - (x2 - x1) / 4} ${y2} ${x2} ${y2}"/>`,
    );
  }
}
for (const [i, { name, kind, shape }] of boxes.entries()) {
  const [fill, stroke] = colours[kind].split(' ');
  out.push(
    `  <rect x="${left(i)}" y="${top(i)}" width="${WIDE}" height="${HIGH}" rx="5" fill="${fill}" stroke="${stroke}"/>`,
  );
  out.push(
    `  <text x="${left(i) + WIDE / 2}" y="${top(i) + 17}">${name}</text><text class="shape" x="${left(i) + WIDE / 2}" y="${top(i) + 32}">${shape}</text>`,
  );
}
console.log(`${out.join('\n')}\n</svg>`);
