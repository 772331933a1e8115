/** Peak memory of loading ViT-L/14, both towers ready to embed, in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const MB = 2 ** 20;

/** The process that is measured: argv[1] is the library's index, argv[2] the model. */
const LOADER = `
const { loadClip } = await import(process.argv[1]);
const clip = await loadClip(process.argv[2], { batch: 1, threads: 2 });
const { size } = clip.preprocess;
await clip.embedImages(new Float32Array(3 * size * size));
await clip.embedTexts(['a photo of a cat.']);
const peak = process.resourceUsage().maxRSS / 1024;
await clip.dispose();
console.log(peak);
`;

/** Records ViT-L/14 and loads it; a Markdown table of sizes in MB. */
export async function measureMemory(
  folder: string,
  python: (args: readonly string[]) => Promise<string>,
): Promise<string> {
  await python(['record.py', 'transformers/vit-l-14/safetensors', folder]);
  const model = join(folder, 'model');
  let weights = 0;
  for (const name of await readdir(model)) {
    if (name.endsWith('.safetensors')) weights += (await stat(join(model, name))).size / MB;
  }
  const index = new URL('../../src/index.js', import.meta.url).href;
  const child = spawn(process.execPath, ['--input-type=module', '-e', LOADER, index, model], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  await once(child, 'close');
  await rm(folder, { recursive: true, force: true });
  const peak = Number(text);
  return `
| ViT-L/14 loaded, MB | |
| --- | --- |
| weights on disk | ${weights.toFixed(0)} |
| peak of the process | ${peak.toFixed(0)} |
| beyond the weights | ${(peak - weights).toFixed(0)} |`;
}
