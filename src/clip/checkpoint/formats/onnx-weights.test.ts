import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { attributeProto, Message } from '../../../engine/proto.ts';
import { S3aError } from '../../../errors.ts';
import { openOnnxFile } from '../../../io/onnx-file.ts';
import { locateWeights } from './onnx-weights.ts';

const folder = mkdtempSync(join(tmpdir(), 's3a-onnx-weights-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A node: type, name, inputs, outputs, and attributes. */
type Node = [
  type: string,
  name: string,
  inputs: string[],
  output: string,
  attributes?: Record<string, number | number[]>,
];
/** A stored tensor of zeros: name, shape, ONNX's number of its type. */
type Stored = [name: string, dims: number[], type?: 1 | 2 | 3];

const WIDTHS = { 1: 4, 2: 1, 3: 1 };

async function locate(nodes: Node[], stored: Stored[], names: string[], outputs: string[] = []) {
  const graph = new Message();
  for (const [type, name, inputs, output, attributes = {}] of nodes) {
    const node = new Message();
    for (const input of inputs) node.string(1, input);
    node.string(2, output).string(3, name).string(4, type);
    for (const [key, value] of Object.entries(attributes)) node.message(5, attributeProto(key, value));
    graph.message(1, node);
  }
  for (const [name, dims, type = 1] of stored) {
    const tensor = new Message();
    for (const dim of dims) tensor.int(1, dim);
    const bytes = new Uint8Array(dims.reduce((product, n) => product * n, WIDTHS[type]));
    graph.message(5, tensor.int(2, type).string(8, name).bytes(9, bytes));
  }
  for (const name of outputs) graph.message(12, new Message().string(1, name));
  const path = join(folder, 'graph.onnx');
  writeFileSync(path, new Message().int(1, 8).message(7, graph).finish());
  const file = await openOnnxFile(path);
  try {
    const { places, logitFactor } = locateWeights(file, names);
    return { ...Object.fromEntries(places), ...(logitFactor !== undefined && { logitFactor }) };
  } finally {
    await file.close();
  }
}

const W = 'a.b.0.fc.weight';
const B = 'a.b.0.fc.bias';
const OTHER = 'a.b.1.fc.weight';
const turned = { name: 'w', transposed: true };

test.each<[string, Node[], Stored[], object]>([
  [
    'the bias that is added to its product',
    [
      ['MatMul', 'MatMul_7', ['x', 'w'], 'y'],
      ['Add', 'Add_8', [B, 'y'], 'z'],
    ],
    [
      ['w', [2, 3]],
      [B, [3]],
    ],
    { [W]: turned, [B]: { name: B } },
  ],
  [
    'the bias behind conversions to half precision and back',
    [
      ['MatMul', '', ['x', 'w'], 'y'],
      ['Cast', '', ['y'], 'half'],
      ['Cast', '', [B], 'half bias'],
      ['Add', '', ['half', 'half bias'], 'z'],
    ],
    [
      ['w', [2, 3]],
      [B, [3]],
    ],
    { [W]: turned, [B]: { name: B } },
  ],
  [
    'the scope in the name of its node',
    [['MatMul', '/a/b.0/fc/MatMul', ['x', 'w'], 'y']],
    [['w', [2, 3]]],
    { [W]: turned },
  ],
  ['its own name', [['MatMul', 'node_7', ['x', W], 'y']], [[W, [2, 3]]], { [W]: { name: W, transposed: true } }],
  [
    'its own name, transposed by a node',
    [
      ['Transpose', '', [W], 'w', { perm: [1, 0] }],
      ['MatMul', '', ['x', 'w'], 'y'],
    ],
    [[W, [3, 2]]],
    { [W]: { name: W } },
  ],
  [
    'the bias of a Gemm',
    [['Gemm', '', ['x', 'w', B], 'y']],
    [
      ['w', [2, 3]],
      [B, [3]],
    ],
    { [W]: turned, [B]: { name: B } },
  ],
  [
    'the bias of a Gemm that takes it transposed',
    [['Gemm', '', ['x', 'w', B], 'y', { transB: 1 }]],
    [
      ['w', [3, 2]],
      [B, [3]],
    ],
    { [W]: { name: 'w' }, [B]: { name: B } },
  ],
  [
    'the scope of a fused product',
    [['FusedMatMul', '/a/b.0/fc/MatMul', ['x', 'w'], 'y', { transB: 1 }]],
    [['w', [3, 2]]],
    { [W]: { name: 'w' } },
  ],
  [
    'another name for it, where equal ones are stored once',
    [
      ['Identity', '', ['w'], 'same'],
      ['MatMul', '/a/b.0/fc/MatMul', ['x', 'same'], 'y'],
    ],
    [['w', [2, 3]]],
    { [W]: turned },
  ],
  [
    'the bias of a fused product of integers',
    [['MatMulIntegerToFloat', '', ['x', 'w', 'xs', 'ws', 'xz', 'wz', B], 'y']],
    [
      ['w', [2, 3], 3],
      ['ws', [3]],
      ['wz', [3], 3],
      [B, [3]],
    ],
    { [W]: turned, [B]: { name: B } },
  ],
  [
    'the bias of a product that quantises its input',
    [['DynamicQuantizeMatMul', '', ['x', 'w', 'ws', 'wz', B], 'y']],
    [
      ['w', [2, 3], 2],
      ['ws', []],
      ['wz', [], 2],
      [B, [3]],
    ],
    { [W]: turned, [B]: { name: B } },
  ],
])('a matrix is known by %s', async (_, nodes, stored, places) => {
  expect(await locate(nodes, stored, [W, B])).toEqual(places);
});

test('projections are known by the outputs that they make', async () => {
  const nodes: Node[] = [
    ['MatMul', '', ['x', 'w'], 'y'],
    ['Cast', '', ['y'], 'image_embeds'],
    ['MatMul', '', ['z', 'v'], 'text_embeds'],
  ];
  const names = ['visual_projection.weight', 'text_projection.weight'];
  expect(
    await locate(
      nodes,
      [
        ['w', [2, 3]],
        ['v', [2, 3]],
      ],
      names,
      ['image_embeds', 'text_embeds'],
    ),
  ).toEqual({
    [names[0]]: turned,
    [names[1]]: { name: 'v', transposed: true },
  });
});

test('a table that was looked up in advance is known by the value it became, also in 8 bits', async () => {
  const name = 'a.position_embedding.weight';
  const value = '/a/position_embedding/Gather_output_0';
  expect(await locate([], [[value, [1, 5, 4]]], [name])).toEqual({ [name]: { name: value, squeezed: true } });
  const nodes: Node[] = [['DequantizeLinear', '', [`${value}_quantized`, 's'], value]];
  expect(
    await locate(
      nodes,
      [
        [`${value}_quantized`, [1, 5, 4], 2],
        ['s', []],
      ],
      [name],
    ),
  ).toEqual({
    [name]: { name: `${value}_quantized`, squeezed: true },
  });
});

test.each<[string, Node[], string[], object]>([
  ['by its name', [], ['logit_scale'], { logit_scale: { name: 'logit_scale' } }],
  [
    'as what is raised to an exponential',
    [
      ['Exp', '', ['s'], 'e'],
      ['Cast', '', ['e'], 'c'],
      ['Mul', '', ['dots', 'c'], 'logits_per_text'],
    ],
    ['s'],
    { logit_scale: { name: 's', squeezed: true } },
  ],
  [
    'as a stored exponential',
    [
      ['Mul', '', ['e', 'dots'], 'y'],
      ['Transpose', '', ['y'], 'logits_per_image'],
    ],
    ['e'],
    { logit_scale: { name: 'e', squeezed: true }, logitFactor: 'e' },
  ],
  ['nowhere', [['Mul', '', ['dots', 'other dots'], 'logits_per_text']], [], {}],
])('the scale of the logits is found %s', async (_, nodes, stored, places) => {
  const tensors = stored.map((name): Stored => [name, [1]]);
  expect(await locate(nodes, tensors, ['logit_scale'])).toEqual(places);
});

test("SigLIP's scale and bias are found together", async () => {
  const nodes: Node[] = [
    ['Exp', '', ['s'], 'e'],
    ['Mul', '', ['dots', 'e'], 'y'],
    ['Add', '', ['y', 'b'], 'logits_per_text'],
    ['Transpose', '', ['logits_per_text'], 'logits_per_image'],
  ];
  expect(
    await locate(
      nodes,
      [
        ['s', [1]],
        ['b', [1]],
      ],
      ['logit_scale', 'logit_bias'],
    ),
  ).toEqual({
    logit_scale: { name: 's' },
    logit_bias: { name: 'b' },
  });
});

const twice: Node[] = [
  ['MatMul', '', ['x', 'w'], 'y'],
  ['Add', '', ['y', B], 'z'],
  ['MatMul', '', ['z', 'v'], 'u'],
  ['Add', '', ['u', B], 't'],
];

test.each<[string, Node[], Stored[], string]>([
  [
    'two matrices with one bias',
    twice,
    [
      ['w', [2, 3]],
      ['v', [2, 3]],
      [B, [3]],
    ],
    `says of two matrices, w and v, that they are ${W}`,
  ],
  [
    'a scope and a bias that differ',
    [
      ['MatMul', '/a/b.1/fc/MatMul', ['x', 'w'], 'y'],
      ['Add', '', ['y', B], 'z'],
    ],
    [
      ['w', [2, 3]],
      [B, [3]],
    ],
    `says of the matrix at node '/a/b.1/fc/MatMul' that it is ${W} and ${OTHER}`,
  ],
  [
    'a matrix that nothing is said of',
    [['MatMul', 'MatMul_7', ['x', 'w'], 'y']],
    [['w', [2, 3]]],
    'holds the weight w, which',
  ],
  [
    'a matrix of a module that the model lacks',
    [['MatMul', '/c/MatMul', ['x', 'w'], 'y']],
    [['w', [2, 3]]],
    'holds the weight c.weight, which',
  ],
  ['a weight of a module that the model lacks', [], [['c.bias', [2]]], 'holds the weight c.bias, which'],
  ['4 bits', [['MatMulNBits', 'a\nb', ['x', 'w', 's'], 'y']], [['w', [2, 3], 2]], "(MatMulNBits at node 'a\uFFFDb')"],
  [
    'a name of two lines',
    [['MatMul', '/c\nd/MatMul', ['x', 'w'], 'y']],
    [['w', [2, 3]]],
    'holds the weight c\uFFFDd.weight, which',
  ],
])('%s is one clear line', async (_, nodes, stored, message) => {
  const error: unknown = await locate(nodes, stored, [W, B, OTHER]).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(S3aError);
  expect((error as S3aError).code).toBe('WEIGHTS');
  expect((error as S3aError).message).toContain(message);
  expect((error as S3aError).message).not.toContain('\n');
});

test('nodes in a circle end', async () => {
  const nodes: Node[] = [
    ['Identity', '', ['q'], 'p'],
    ['Identity', '', ['p'], 'q'],
    ['MatMul', '', ['x', 'p'], 'x'],
    ['Cast', '', ['x'], 'x'],
  ];
  expect(await locate(nodes, [], [W])).toEqual({});
});

test('no change of a real graph does anything but end in one line or give places in it', async () => {
  const good = gunzipSync(
    readFileSync(
      fileURLToPath(new URL('../../../../test/goldens/onnx-clip/onnx/vision_model_quantized.onnx.gz', import.meta.url)),
    ),
  );
  const path = join(folder, 'changed.onnx');
  writeFileSync(path, good);
  const original = await openOnnxFile(path);
  const names = original.names.filter(name => /\.(weight|bias)(_quantized)?$/.test(name));
  const scopes = original.nodes.filter(({ type }) => /^MatMul/.test(type)).map(({ name }) => name);
  const known = [
    ...names.map(name => name.replace(/_quantized$/, '')),
    ...scopes.map(name => `${name.split('/').slice(1, -1).join('.')}.weight`),
  ];
  expect(locateWeights(original, known).places.size).toBeGreaterThan(30);
  await original.close();
  const counts = { located: 0, refused: 0 };
  const edit = fc.record({ at: fc.nat(good.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 3 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async edits => {
      const bytes = Buffer.from(good);
      for (const { at, bytes: replacement } of edits) bytes.set(replacement.subarray(0, bytes.length - at), at);
      writeFileSync(path, bytes);
      try {
        const file = await openOnnxFile(path);
        try {
          for (const { name } of locateWeights(file, known).places.values()) expect(file.has(name)).toBe(true);
        } finally {
          await file.close();
        }
        counts.located++;
      } catch (error) {
        if (!(error instanceof S3aError)) throw error;
        expect(error.message).not.toContain('\n');
        counts.refused++;
      }
    }),
    { numRuns: 150, seed: 1 },
  );
  expect(counts.located).toBeGreaterThan(10);
  expect(counts.refused).toBeGreaterThan(10);
});
