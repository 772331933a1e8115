/** The realign stage (METHOD §2.5, or renaming with `--method auto`): phrases decide the names; images get structural labels. */
import { NameSearch } from '../discover/nearest.ts';
import { type EncodeTexts, phraseFormats, realign as realignNames, scoreCandidates } from '../discover/realign.ts';
import { renameGroups } from '../discover/rename.ts';
import { hashFile } from '../io/hash.ts';
import type { Embedded } from './embed.ts';
import type { PromptedCluster } from './prompt.ts';
import type { Named } from './prototypes.ts';
import type { Run } from './store.ts';
import { readColumn, writeColumns } from './tables.ts';
import type { Voted } from './vote.ts';

/** [N] structural labels, vocabulary indices, −1 for unknown: `structural.parquet`. */
export async function realign(
  run: Run,
  { files, features, width }: Embedded,
  { prototypes }: Named,
  { steps, counted }: Voted,
  prompted: readonly PromptedCluster[],
): Promise<Int32Array> {
  const { method, templates, phraseFormats: given, threads, device } = run.config;
  const formats = given.length > 0 ? given : phraseFormats(templates);
  // The same request may get another answer, and a language model that failed answers more the next time.
  const inputs = { prompt: run.keyOf('prompt'), phrases: await hashFile(run.path('phrases.json')), formats };
  await run.stage('realign', inputs, ['structural.parquet'], async () => {
    const candidates = prompted.map(cluster => cluster.candidates);
    const encodeTexts: EncodeTexts = async texts => (await run.clip()).embedTexts(texts);
    const options = { width, formats, threads, device, encodeTexts };
    const search = new NameSearch(width, { threads, device });
    try {
      if (method === 's3a') {
        const found = await realignNames(features, prototypes, counted, candidates, { ...options, search });
        await writeColumns(run.path('structural.parquet'), files, { structural: found.labels });
        return { assigned: found.names.length, names: new Set(found.labels).size };
      }
      const asked = candidates.map(list => list.some(({ phrases }) => phrases.length > 0));
      const scores = await scoreCandidates(features, prototypes, counted, candidates, { ...options, search });
      const labels = renameGroups(steps.smoothed, counted.partition, counted.votes, scores, asked);
      await writeColumns(run.path('structural.parquet'), files, { structural: labels });
      const moved = labels.filter((label, i) => label !== steps.smoothed[i]).length;
      return { names: new Set(labels.filter(label => label >= 0)).size, moved };
    } finally {
      await search.dispose();
    }
  });
  return readColumn(run.path('structural.parquet'), 'structural');
}
