/** Which device `auto` takes on machines of every kind, and what a device that cannot be there says. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { S3aError } from '../errors.ts';
import { choose, chooseDevice, describeChoice, tryDevice } from './choose-device.ts';
import { deviceError, type Machine, missing, type Provider, softwareGpu, thisMachine } from './device.ts';
import * as e from './index.ts';

const runtime = mkdtempSync(join(tmpdir(), 's3a-runtime-'));
const libraries = join(runtime, 'bin/napi-v6/linux/x64');
mkdirSync(libraries, { recursive: true });
afterAll(() => rmSync(runtime, { recursive: true }));

const linux: Machine = { platform: 'linux', arch: 'x64', runtime, devices: [], drivers: undefined };

/** A machine on which only these devices compute. */
const having =
  (...there: Provider[]) =>
  async (device: Provider) => ({
    device,
    lacks: there.includes(device) ? undefined : new S3aError('DEVICE', `no ${device} here`),
  });

describe('auto', () => {
  it('takes CUDA before WebGPU before the processor', async () => {
    expect((await choose(having('cpu', 'webgpu', 'cuda'))).device).toBe('cuda');
    expect((await choose(having('cpu', 'webgpu'))).device).toBe('webgpu');
    const chosen = await choose(having('cpu'));
    expect(chosen.device).toBe('cpu');
    expect(describeChoice(chosen)).toBe('--device auto takes cpu (cuda: no cuda here; webgpu: no webgpu here)');
    expect(describeChoice(await choose(having('cuda')))).toBe('--device auto takes cuda');
  });

  it('is found once, computes, and any other device stands for itself', async () => {
    const first = await chooseDevice('auto');
    expect(await chooseDevice('auto')).toBe(first);
    expect(await chooseDevice('cuda')).toEqual({ device: 'cuda', passed: [] });
    const x = e.input('x', 'float32', [2]);
    const session = await e.compile(e.program({ y: e.mul(x, 3) }), { device: 'auto' });
    expect((await session.run({ x: Float32Array.of(1, 2) })).y).toEqual(Float32Array.of(3, 6));
    await session.dispose();
  });
});

describe('a device that cannot be there', () => {
  it('is CUDA without its library: one line with the command that fetches it', async () => {
    expect(missing('cuda', linux)).toMatchObject({
      code: 'DEVICE',
      message: "ONNX Runtime's CUDA provider is not installed",
      hint: `Fetch it with: ONNXRUNTIME_NODE_INSTALL=true node ${join(runtime, 'script/install.js')} (CUDA 12 and cuDNN 9 are needed besides)`,
    });
    expect((await tryDevice('cuda', linux)).lacks?.message).toBe("ONNX Runtime's CUDA provider is not installed");
    writeFileSync(join(libraries, 'libonnxruntime_providers_cuda.so'), '');
    expect(missing('cuda', linux)).toBeUndefined();
  });

  it('is CUDA on another system, and WebGPU on Linux for arm64', () => {
    const mac = { ...linux, platform: 'darwin', arch: 'arm64' };
    expect(missing('cuda', mac)?.message).toContain('this is darwin arm64');
    expect(missing('webgpu', mac)).toBeUndefined();
    expect(missing('webgpu', { ...linux, arch: 'arm64' })?.message).toContain('no WebGPU on linux arm64');
    expect(missing('cpu', { ...linux, arch: 'arm64' })).toBeUndefined();
  });

  it('is a program that plays a GPU, where Linux tells', () => {
    expect(softwareGpu(linux)).toBe(true);
    for (const name of ['renderD128', 'nvidia0', 'dxg']) {
      expect(softwareGpu({ ...linux, devices: ['null', name] }), name).toBe(false);
    }
    expect(softwareGpu({ ...linux, devices: ['renderD128'], drivers: '/x/vk_swiftshader_icd.json' })).toBe(true);
    expect(softwareGpu({ ...linux, devices: ['renderD128'], drivers: '/x/lvp_icd.x86_64.json' })).toBe(true);
    expect(softwareGpu({ ...linux, platform: 'darwin' })).toBe(false);
  });

  it('says so when a session is compiled for it, in one line', async () => {
    const lacks = missing('cuda');
    if (!lacks) return;
    const graph = e.program({ y: e.mul(e.input('x', 'float32', [2]), 3) });
    await expect(e.compile(graph, { device: 'cuda' })).rejects.toMatchObject({
      code: 'DEVICE',
      message: lacks.message,
    });
    expect(thisMachine().runtime).toMatch(/onnxruntime-node$/);
  });

  it('does not open: the first line of what ONNX Runtime says, and what is needed', () => {
    const message = 'OrtSessionOptionsAppendExecutionProvider_Cuda: Failed to load shared library\nmore';
    expect(deviceError('cuda', message)).toMatchObject({
      message: `the CUDA provider does not open: ${message.split('\n')[0]}`,
      hint: expect.stringContaining('cuDNN 9'),
    });
    expect(deviceError('webgpu', 'Failed to get a WebGPU adapter: x').message).toContain('no GPU that webgpu can use');
    expect(deviceError('cuda', 'unknown operator').message).toBe(
      'could not build the session on cuda: unknown operator',
    );
  });
});
