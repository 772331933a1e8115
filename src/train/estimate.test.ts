/** Memory from sizes, against sums by hand. */
import { expect, it } from 'vitest';
import { parseClipConfig } from '../clip/towers/config.ts';
import {
  add,
  autocast,
  conv2d,
  gradient,
  input,
  matMul,
  mul,
  program,
  reshape,
  state,
  sub,
  sum,
  type Tensor,
} from '../engine/index.ts';
import { programMemory } from './estimate.ts';
import { stepProgram } from './step.ts';

it('counts states, second copies of those that wait for readers, inputs, and what lives at once', () => {
  const x = input('x', 'float32', [10, 10]);
  const average = state('average', [50]);
  const weight = state('weight', [10, 10]);
  const a = matMul(x, weight); // 400 bytes
  const b = mul(a, a); // 400 more while a is still there
  const c = reshape(b, [100]); // a view of b
  const d = mul(c, 2); // 400, with b: a is gone
  const e = sum(d); // 4, while d is still there
  const { resident, live } = programMemory(
    program({ average: add(average, 1), weight: matMul(weight, weight), loss: e }),
  );
  // 200 for the average, which is overwritten where it lies; twice 400 for the weight, which is read by two products.
  expect(resident).toBe(200 + 2 * 400);
  expect(live).toBe(400 + 800);
});

it('needs no memory for a second pass over what is gone', () => {
  const x = input('x', 'float32', [100]);
  let y = x;
  for (let i = 0; i < 20; i++) y = mul(y, 2);
  expect(programMemory(program({ y }))).toEqual({ states: 0, resident: 0, live: 400 + 800 });
});

it('falls with blocks that are computed again: what enters them stays, and one block', () => {
  const vision_config = {
    ...{ image_size: 64, patch_size: 8, hidden_size: 32, intermediate_size: 128 },
    ...{ num_attention_heads: 2, num_hidden_layers: 12 },
  };
  const config = parseClipConfig({ projection_dim: 16, vision_config });
  const live = (gradCheckpointing: boolean): number =>
    programMemory(stepProgram({ config, batch: 16, names: 10, logitScale: 100, gradCheckpointing })).live;
  expect(live(true)).toBeLessThan(0.25 * live(false));
  // Twelve inputs of blocks, 16 x 65 tokens of 32 values.
  expect(live(true)).toBeGreaterThan(12 * 4 * 16 * 65 * 32);
});

it('holds no gradient of a large weight after its update, with blocks that are computed again', () => {
  const vision_config = {
    ...{ image_size: 16, patch_size: 8, hidden_size: 256, intermediate_size: 1024 },
    ...{ num_attention_heads: 2, num_hidden_layers: 8 },
  };
  const config = parseClipConfig({ projection_dim: 128, vision_config });
  const options = { config, batch: 1, names: 10, logitScale: 100 };
  const trained = 4 * 256 * 256 * 12 * 8;
  const { resident, live } = programMemory(stepProgram({ ...options, gradCheckpointing: true }), { lean: true });
  // Student, two moments and teacher, once each; small vectors twice.
  expect(resident).toBeGreaterThan(4 * trained);
  expect(resident).toBeLessThan(4.3 * trained);
  expect(live).toBeLessThan(0.4 * trained);
  const whole = programMemory(stepProgram(options));
  // And the gradient, which waits for the end of the step.
  expect(whole.resident).toBeGreaterThan(5 * trained);
  expect(whole.resident).toBeLessThan(5.1 * trained);
});

it('counts the copies of a loop, the layouts of a weight gradient, and half the bytes of float16', () => {
  const x = input('x', 'float32', [16, 16, 8, 8]);
  const weight = state('weight', [16, 16, 3, 3]);
  const y = conv2d(x, weight, undefined, { padding: 1 });
  const [dw] = gradient(sum(mul(y, y)), [weight]);
  const graph = program({ weight: sub(weight, dw) });
  const [map, kernel] = [4 * 16 * 16 * 8 * 8, 4 * 16 * 16 * 9];
  const [once, loop] = [programMemory(graph), programMemory(graph, { device: 'cuda', loops: true })];
  expect([once.states, loop.states, loop.resident]).toEqual([kernel, kernel, 3 * kernel]);
  // The input, y, its gradient, and while the gradient of the weight is made three copies of x and one of y's gradient.
  expect(once.live).toBeGreaterThanOrEqual(map + 4 * map);
  expect(loop.live).toBeLessThan(once.live);
  const a = input('a', 'float32', [64, 64]);
  const product = (half: boolean): Tensor => (half ? autocast([matMul(a, a)])[0] : matMul(a, a));
  const [full, half] = [false, true].map(mixed =>
    programMemory(program({ z: sum(product(mixed)) }), { device: 'cuda' }),
  );
  // a and the product; with casts before and after it two halves, and the product as float32 again.
  expect(full.live).toBe(2 * 4 * 64 * 64);
  expect(half.live).toBe((4 + 2 + 4) * 64 * 64);
});
