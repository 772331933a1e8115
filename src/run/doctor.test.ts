import { expect, test } from 'vitest';
import { doctor } from './doctor.ts';

test('this machine is well, and a device that is not there is one line', async () => {
  const { ok, checks } = await doctor({ devices: ['cpu', 'tpu' as 'cpu'], folder: 'not/yet/there' });
  expect(ok).toBe(false);
  expect(checks.filter(check => !check.ok)).toEqual([
    { name: 'compute on tpu', ok: false, detail: "unknown device 'tpu'", hint: 'Use cpu, webgpu, cuda or auto.' },
  ]);
  expect(checks.find(({ name }) => name === 'devices')!.detail).toMatch(
    /^--device auto takes (cpu|webgpu|cuda); cuda /,
  );
  const detail = Object.fromEntries(checks.map(check => [check.name, check.detail]));
  expect(detail['compute on cpu']).toBe('a product and its gradient are right');
  expect(detail.versions).toContain(`node ${process.versions.node}`);
});

test('secrets are not shown', async () => {
  const before = process.env.HF_TOKEN;
  process.env.HF_TOKEN = 'hf_secret';
  try {
    const report = JSON.stringify(await doctor({ devices: [] }));
    expect(report).toContain('HF_TOKEN is set');
    expect(report).not.toContain('hf_secret');
  } finally {
    if (before === undefined) delete process.env.HF_TOKEN;
    else process.env.HF_TOKEN = before;
  }
});
