/** CLIP that is told the true names: what naming alone could reach without training. */
import { prototypes } from '../../clip/prototypes.ts';
import { see } from '../../run/fit.ts';
import type { Method } from '../method.ts';
import { byNearest } from '../nearest.ts';

export const bound: Method = {
  name: 'bound',
  title: 'CLIP, true names only (bound)',
  about: 'Every image gets the nearest of the true names; the only method that is told them.',
  reads: [],
  knowsNames: true,
  async run({ config, run, filesOf, test, trueNames }) {
    const opened = await run('discovery');
    const { embedded } = await see(opened);
    const names = trueNames();
    // Encoded here and kept nowhere: a run folder must not show them.
    const table = { names, prototypes: await prototypes(names, config.templates, (await opened.clip()).embedTexts) };
    const unseen = await test();
    return [
      {
        part: '',
        train: await byNearest(filesOf(embedded), embedded, table, config),
        ...(unseen && { test: await byNearest(filesOf(unseen), unseen, table, config) }),
      },
    ];
  },
};
