/** The realign stage (METHOD §2.5): phrases decide the names; every image gets its structural label. */
import { phraseFormats, realign as realignNames } from '../discover/realign.ts';
import { hashFile } from '../io/hash.ts';
import type { Embedded } from './embed.ts';
import type { PromptedCluster } from './prompt.ts';
import type { Named } from './prototypes.ts';
import type { Run } from './store.ts';
import { readColumn, writeColumns } from './tables.ts';
import type { Voted } from './vote.ts';

/** [N] structural labels, vocabulary indices: `structural.parquet`. */
export async function realign(
  run: Run,
  { files, features, width }: Embedded,
  { prototypes }: Named,
  { counted }: Voted,
  prompted: readonly PromptedCluster[],
): Promise<Int32Array> {
  const { templates, phraseFormats: given, threads, device } = run.config;
  const formats = given.length > 0 ? given : phraseFormats(templates);
  // The same request may get another answer, and a language model that failed answers more the next time.
  const inputs = { prompt: run.keyOf('prompt'), phrases: await hashFile(run.path('phrases.json')), formats };
  await run.stage('realign', inputs, ['structural.parquet'], async () => {
    const candidates = prompted.map(cluster => cluster.candidates);
    const { labels, names } = await realignNames(features, prototypes, counted, candidates, {
      width,
      formats,
      threads,
      device,
      encodeTexts: async texts => (await run.clip()).embedTexts(texts),
    });
    await writeColumns(run.path('structural.parquet'), files, { structural: labels });
    return { assigned: names.length, names: new Set(labels).size };
  });
  return readColumn(run.path('structural.parquet'), 'structural');
}
