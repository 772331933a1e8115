/** CLIP that is told the true names: what naming alone could reach without training. */
import { prototypes } from '../../clip/prototypes.ts';
import { see } from '../../run/fit.ts';
import type { Method } from '../method.ts';
import { zeroShot } from '../nearest.ts';

export const bound: Method = {
  name: 'bound',
  title: 'CLIP, true names only (bound)',
  about: 'Every image gets the nearest of the true names; the only method that is told them.',
  reads: [],
  knowsNames: true,
  async run(context) {
    const run = await context.run('discovery');
    const { embedded } = await see(run);
    const names = context.trueNames();
    // Encoded here and kept nowhere: a run folder must not show them.
    const rows = await prototypes(names, context.config.templates, (await run.clip()).embedTexts);
    return [await zeroShot(context, embedded, { names, prototypes: rows })];
  },
};
