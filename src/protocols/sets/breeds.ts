/** The four sets of BREEDS: classes of ImageNet that lie balanced below the nodes of a level; scored on those classes. */
import { type BreedsCut, HIERARCHY, readBreeds } from '../breeds-hierarchy.ts';
import { readImagenet, WANTED } from '../imagenet-files.ts';
import type { Protocol } from '../protocol.ts';

const LIVING = 'n00004258';
const NON_LIVING = 'n00021939';
const VALIDATION_IMAGES = 50;

export const BREEDS: readonly Protocol[] = [
  breeds('living17', 'Living17', 68, { level: 5, ancestor: LIVING, perNode: 4 }),
  breeds('nonliving26', 'Nonliving26', 104, { level: 5, ancestor: NON_LIVING, perNode: 4 }),
  breeds('entity13', 'Entity13', 260, { level: 3, perNode: 20 }),
  breeds('entity30', 'Entity30', 240, { level: 4, perNode: 8 }),
];

function breeds(name: string, title: string, classes: number, cut: BreedsCut): Protocol {
  return {
    name,
    title,
    source: `${WANTED.source}, and ${HIERARCHY.source}`,
    size: { classes, test: classes * VALIDATION_IMAGES },
    async read(folder) {
      const { groups } = await readBreeds(folder, cut);
      return readImagenet(folder, groups.flatMap(({ leaves }) => leaves).sort());
    },
  };
}
