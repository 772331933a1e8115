/** `npm run bench -- <name> [options]`. */
import { messageOf } from '../src/errors.ts';
import { benchDiscovery } from './discovery.ts';
import { benchMethods } from './discovery-methods.ts';
import { benchEngine } from './engine.ts';
import { benchGpu } from './gpu.ts';
import { benchImages } from './images.ts';
import { benchScale } from './scale.ts';
import { benchTraining } from './training.ts';

const benches: Record<string, (args: string[]) => Promise<void>> = {
  engine: benchEngine,
  gpu: benchGpu,
  discovery: benchDiscovery,
  images: benchImages,
  scale: benchScale,
  methods: benchMethods,
  training: benchTraining,
};

const [name, ...args] = process.argv.slice(2);
if (!Object.hasOwn(benches, name ?? '')) {
  console.error(`usage: npm run bench -- <${Object.keys(benches).join('|')}> [options]; see bench/README.md`);
  process.exitCode = 2;
} else {
  try {
    await benches[name](args);
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
