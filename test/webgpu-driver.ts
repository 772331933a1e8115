/**
 * Scripts that compute on WebGPU, each in a process of its own, on a driver for Vulkan: the one that VK_DRIVER_FILES names (with
 * LD_LIBRARY_PATH to its libvulkan.so.1), otherwise Chromium's SwiftShader in the folder S3A_VULKAN, by default that of Debian's chromium.
 *
 * SwiftShader computes no float16; Mesa's lavapipe, version 25, does.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = process.env.S3A_VULKAN ?? '/usr/lib/chromium';

/** The driver's description. */
export const driver = process.env.VK_DRIVER_FILES ?? `${folder}/vk_swiftshader_icd.json`;
export const hasDriver = existsSync(driver);

/** What a module prints that is run at the root of the repository; its standard input is `given`. */
export function onDriver(script: string, given = ''): string {
  const own = process.env.VK_DRIVER_FILES !== undefined;
  const env = own ? process.env : { ...process.env, VK_DRIVER_FILES: driver, LD_LIBRARY_PATH: folder };
  return execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
    ...{ cwd: root, env, input: given, encoding: 'utf8' as const, timeout: 170_000, maxBuffer: 2 ** 26 },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** Whether a script failed because the driver computes no float16. */
export function lacksHalf(error: unknown): boolean {
  return String((error as { stderr?: unknown }).stderr).includes('computes no float16');
}
