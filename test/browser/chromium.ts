/** Headless Chromium for tests: the machine's own, driven by nothing but the page that it opens. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The command of a Chromium on this machine: S3A_CHROMIUM, or a usual name; undefined when there is none. */
export const chromium = [process.env.S3A_CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].find(
  name => name && spawnSync(name, ['--version']).status === 0,
);

const FLAGS = [
  'headless',
  'no-sandbox',
  'disable-gpu',
  'disable-quic',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
  'enable-logging=stderr',
];

/**
 * Opens a page and waits for what it hands over.
 * @param result what the page's server gets from the page
 * @throws Error with Chromium's last words when it ends before, or when `seconds` have passed
 */
export async function whilePageIsOpen<T>(url: string, result: Promise<T>, seconds: number): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), 's3a-chromium-'));
  const args = [...FLAGS, `user-data-dir=${profile}`].map(flag => `--${flag}`);
  const browser = spawn(chromium!, [...args, url], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  browser.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4000);
  });
  const ended = once(browser, 'close');
  const late = AbortSignal.timeout(1000 * seconds);
  try {
    return await Promise.race([
      result,
      ended.then(() => Promise.reject(new Error(`Chromium ended: ${said}`))),
      once(late, 'abort').then(() => Promise.reject(new Error(`no result from the page: ${said}`))),
    ]);
  } finally {
    browser.kill();
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
