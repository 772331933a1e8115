/** Devices: their names, what ONNX Runtime runs on them, and why one cannot be there. */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { S3aError } from '../errors.ts';

/** Where a session runs: the processor, or a GPU by ONNX Runtime's WebGPU or CUDA provider with the processor for what it lacks. */
export const PROVIDERS = ['cpu', 'webgpu', 'cuda'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** A device as it is asked for; `auto` is what `chooseDevice` finds. */
export const DEVICES = ['cpu', 'webgpu', 'cuda', 'auto'] as const;
export type Device = (typeof DEVICES)[number];

/** The machine that is asked about; tests ask about others. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** Where onnxruntime-node is. */
  readonly runtime: string;
  /** Entries of /dev and /dev/dri; none where they cannot be read. */
  readonly devices: readonly string[];
  /** Vulkan's list of drivers, where it is set. */
  readonly drivers: string | undefined;
}

/**
 * The machine that the program runs on, as the process, the environment, the place of the package onnxruntime-node and, on Linux,
 * the entries of /dev tell; no device is opened.
 */
export function thisMachine(): Machine {
  const { platform, arch, env } = process;
  const runtime = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const entries = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []);
  const devices = platform === 'linux' ? [...entries('/dev'), ...entries('/dev/dri')] : [];
  return { platform, arch, runtime, devices, drivers: env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES };
}

/** Why a provider cannot be used here as far as files tell, before anything is opened; undefined when nothing speaks against it. */
export function missing(provider: Provider, machine = thisMachine()): S3aError | undefined {
  if (provider === 'cuda') return withoutCuda(machine);
  return provider === 'webgpu' ? withoutWebGpu(machine) : undefined;
}

function withoutCuda({ platform, arch, runtime }: Machine): S3aError | undefined {
  if (platform !== 'linux' || arch !== 'x64') {
    const what = `ONNX Runtime for Node.js has CUDA on Linux x64 alone, and this is ${platform} ${arch}`;
    return new S3aError('DEVICE', what, 'Use the device webgpu or cpu.');
  }
  const library = join(runtime, 'bin/napi-v6/linux/x64/libonnxruntime_providers_cuda.so');
  if (existsSync(library)) return undefined;
  const script = join(runtime, 'script/install.js');
  return new S3aError(
    'DEVICE',
    "ONNX Runtime's CUDA provider is not installed",
    `Fetch it with: ONNXRUNTIME_NODE_INSTALL=true node ${script} (CUDA 12 and cuDNN 9 are needed besides)`,
  );
}

function withoutWebGpu({ platform, arch }: Machine): S3aError | undefined {
  if (platform !== 'linux' || arch === 'x64') return undefined;
  const what = `ONNX Runtime for Node.js has no WebGPU on ${platform} ${arch}`;
  return new S3aError('DEVICE', what, 'Use the device cpu.');
}

/** Whether what WebGPU would open is a program on the processor that plays a GPU, as far as that can be told: on Linux alone. */
export function softwareGpu({ platform, devices, drivers }: Machine): boolean {
  if (platform !== 'linux') return false;
  if (drivers !== undefined && /swiftshader|lvp|lavapipe|llvmpipe/i.test(drivers)) return true;
  // Kernel drivers of GPUs make such an entry: DRM's, NVIDIA's own, and that of the Windows subsystem.
  return !devices.some(name => /^(?:renderD\d+|nvidia\d+|dxg)$/.test(name));
}

/** What ONNX Runtime says when a session does not open on a device, as one line. */
export function deviceError(provider: Provider, message: string): S3aError {
  // It names a source file and a C++ signature.
  if (provider === 'webgpu' && message.includes('adapter')) {
    const hint = 'Use the device cpu, or install a GPU driver.';
    return new S3aError('DEVICE', 'this machine has no GPU that webgpu can use', hint);
  }
  if (provider === 'cuda' && /shared library|libcu|CUDA (?:failure|error)|cudaError/i.test(message)) {
    const hint = 'It needs an NVIDIA driver, CUDA 12 and cuDNN 9 where the loader finds them (LD_LIBRARY_PATH).';
    return new S3aError('DEVICE', `the CUDA provider does not open: ${message.split('\n')[0]}`, hint);
  }
  return new S3aError('DEVICE', `could not build the session on ${provider}: ${message}`);
}

/** What ONNX Runtime says when a run fails, with what helps against a memory that is full. */
export function runError(message: string): S3aError {
  const isFull = /failed to allocate memory|out of memory|bad_alloc|ALLOC_FAILED/i.test(message);
  const hint =
    'Compute less at once: a smaller batch, --micro-batch, --grad-checkpointing; on cuda fewer --steps-per-execution.';
  return new S3aError('RUN', `ONNX Runtime: ${message}`, isFull ? hint : undefined);
}
