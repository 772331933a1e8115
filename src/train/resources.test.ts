/** Resources are left in the order opposite to that in which they were opened, all of them, and no failure hides the first one. */
import { expect, it } from 'vitest';
import { withResources } from './resources.ts';

/** Work with three resources, the second of which may fail to be disposed of; what was done. */
function workOf(done: string[], fails: { work?: boolean; disposal?: boolean }): Promise<number> {
  const resource = (name: string) => ({
    async dispose() {
      done.push(name);
      if (name === 'session' && fails.disposal) throw new Error('disposal');
    },
  });
  return withResources(async opened => {
    for (const name of ['metrics', 'session', 'renewal']) opened.add(resource(name));
    if (fails.work) throw new Error('work');
    return 7;
  });
}

it.each([
  [{}, 7],
  [{ disposal: true }, 'disposal'],
  [{ work: true }, 'work'],
  [{ work: true, disposal: true }, 'work'],
])('%o', async (fails, ended) => {
  const done: string[] = [];
  const work = workOf(done, fails);
  if (typeof ended === 'number') expect(await work).toBe(ended);
  else await expect(work).rejects.toThrow(ended);
  expect(done).toEqual(['renewal', 'session', 'metrics']);
});
