/** `--method auto` against numpy, and its parts on cases computed by hand. */
import { describe, expect, test } from 'vitest';
import { autoRecord, features, prototypes, roundsRecord, WIDTH } from '../../test/discover-goldens.ts';
import { autoNames } from './auto.ts';
import { confidences } from './confidence.ts';
import { withoutHubs } from './hubs.ts';
import { closeClusters, nameClusters } from './name-clusters.ts';
import { agreement, graphOf } from './neighbours.ts';
import { nameProbabilities, sharesOf } from './probability.ts';
import { renameGroups } from './rename.ts';
import { rowsOf } from './row-pass.ts';
import { smooth } from './smooth.ts';
import { softVotes } from './soft-votes.ts';
import { nameScores } from './vote.ts';

describe.each(autoRecord.cases)('labels equal numpy, image for image', ({ features: i, parts, named, labels }) => {
  test(`features ${i}, ${JSON.stringify(parts)}`, async () => {
    const { clusters, nearest } = roundsRecord.cases[i];
    const options = { ...parts, width: WIDTH, scale: autoRecord.scale, threads: 1 };
    const found = await autoNames(features[i], prototypes, Int32Array.from(clusters), options);
    expect([...found.zeroShot]).toEqual(nearest);
    expect([...found.named]).toEqual(named);
    expect([...found.labels]).toEqual(labels);
  });
});

test('soft votes: softmax among the best names, averaged over the cluster', () => {
  const nearest = {
    top: 2,
    indices: Int32Array.of(3, 1, 1, 3),
    scores: Float32Array.of(0.5, 0.5 - Math.log(3) / 10, 0.4, 0.4),
  };
  const [row] = softVotes(nearest, { clusters: Int32Array.of(0, 0), count: 1 }, 10);
  // The first image gives 3/4 and 1/4, the second a half to each.
  expect([...row.names]).toEqual([3, 1]);
  expect(row.scores).toBeAllclose([0.625, 0.375], { rtol: 1e-6 });
});

test('hub correction takes away what all images give a name', async () => {
  const features = Float32Array.of(1, 0, 0, 1);
  const prototypes = Float32Array.of(1, 0, 0.6, 0.8);
  const corrected = await withoutHubs(rowsOf(features, 2, 'features'), prototypes, 0.5);
  expect(corrected.width).toBe(3);
  expect([...(await corrected.features.read(1, 2))]).toEqual([0, 1, 1]);
  // The mean image is (½, ½): the names lose ½ · ½ and ½ · 0.7.
  expect(corrected.prototypes).toBeAllclose([1, 0, -0.25, 0.6, 0.8, -0.35], { rtol: 1e-6 });
});

test('two clusters may take one name, one without votes takes none', () => {
  const rows = [
    nameScores([[4, 0.6]]),
    nameScores([
      [4, 0.5],
      [2, 0.45],
    ]),
    nameScores([]),
  ];
  expect([...nameClusters(rows)]).toEqual([4, 4, -1]);
  expect(closeClusters(rows, 0.2)).toEqual([false, true, false]);
  expect(closeClusters(rows, 0)).toEqual([false, false, false]);
});

test('the graph is symmetric in its edges and its rows sum to 1', () => {
  // 0 and 1 chose each other (0.8), 2 chose 1 (0.4): the edge 1–2 counts half of 0.4.
  const graph = graphOf(Int32Array.of(1, 0, 1), Float32Array.of(0.8, 0.8, 0.4), 1);
  expect([...graph.start]).toEqual([0, 1, 3, 4]);
  expect([...graph.to]).toEqual([1, 0, 2, 1]);
  expect(graph.weight).toBeAllclose([1, 0.8, 0.2, 1], { rtol: 1e-6 });
  expect(agreement(graph, Int32Array.of(5, 5, 6))).toBeAllclose([1, 0.8, 0], { rtol: 1e-6 });
});

test('smoothing: an image goes with its neighbours unless its text is sure', () => {
  const graph = graphOf(Int32Array.of(1, 2, 0, 2, 0, 1), new Float32Array(6).fill(1), 2);
  const alone = { clusters: Int32Array.of(0, 1, 2), count: 3 };
  const choices = (gap: number) => ({
    width: 2,
    names: Int32Array.of(0, 1, 0, 1, 1, 0),
    text: Float32Array.of(0, -5, 0, -5, 0, -gap),
    prior: new Float32Array(6).fill(1),
  });
  expect([...smooth(choices(1), graph, alone, 7)]).toEqual([0, 0, 0]);
  expect([...smooth(choices(30), graph, alone, 7)]).toEqual([0, 0, 1]);
  expect(() => smooth(choices(1), { ...graph, start: graph.start.subarray(1) }, alone, 1)).toThrow('smooth');
});

test('phrases rename whole groups, where they were asked about', () => {
  const votes = [
    nameScores([
      [1, 0.5],
      [2, 0.4],
    ]),
    nameScores([[3, 0.9]]),
  ];
  const scores = [
    nameScores([
      [2, 3],
      [1, 1],
    ]),
    nameScores([[3, 1]]),
  ];
  const partition = { clusters: Int32Array.of(0, 0, 1), count: 2 };
  expect([...renameGroups(Int32Array.of(1, 1, 3), partition, votes, scores, [true, false])]).toEqual([2, 2, 3]);
  expect([...renameGroups(Int32Array.of(1, 1, 3), partition, votes, scores, [false, false])]).toEqual([1, 1, 3]);
});

test('confidence: the logistic map of image, group and neighbours; none for no label', () => {
  const graph = graphOf(Int32Array.of(1, 0, -1), Float32Array.of(1, 1, 0), 1);
  const map = { bias: 0.3, own: 1, group: 2, neighbours: 0 };
  const odds = (p: number) => Math.log((p + 1e-2) / (1 - p + 1e-2));
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  expect(confidences(Int32Array.of(4, 4, -1), Float32Array.of(0.2, 0.6, 0), graph, map)).toBeAllclose(
    [sigmoid(0.3 + odds(0.2) + 2 * odds(0.4)), sigmoid(0.3 + odds(0.6) + 2 * odds(0.4)), 0],
    { rtol: 1e-5 },
  );
});

test('the best names with their probabilities', async () => {
  const [z, h] = [Float32Array.of(1, 0), Float32Array.of(1, 0, 0, 1, 0.6, 0.8)];
  const { own, indices, probabilities } = await nameProbabilities(z, h, Int32Array.of(2), {
    width: 2,
    scale: 2,
    top: 2,
    threads: 1,
  });
  const sum = Math.exp(2) + 1 + Math.exp(1.2);
  expect([...indices]).toEqual([0, 2]);
  expect(probabilities).toBeAllclose([Math.exp(2) / sum, Math.exp(1.2) / sum], { rtol: 1e-5 });
  expect(own).toBeAllclose([Math.exp(1.2) / sum], { rtol: 1e-5 });
});

test('a share of the best names: 0 for a label that is none of them', () => {
  const found = {
    own: Float32Array.of(0.1, 0.02, 0),
    top: 2,
    indices: Int32Array.of(7, 3, 7, 3, 7, 3),
    probabilities: Float32Array.of(0.3, 0.1, 0.3, 0.1, 0, 0),
  };
  expect(sharesOf(found, Int32Array.of(3, 5, 7))).toBeAllclose([0.25, 0, 0], { rtol: 1e-6 });
});

test('clusters of one name become one, and a stray image follows its neighbours', async () => {
  const angle = (degrees: number) => [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
  const features = Float32Array.from([0, 2, 4, 6, 80, 82, 84, 86].flatMap(angle));
  const prototypes = Float32Array.from([3, 83, 180].flatMap(angle));
  const { labels, named, counted } = await autoNames(features, prototypes, Int32Array.of(0, 0, 1, 1, 2, 2, 2, 2), {
    width: 2,
    scale: 20,
    threads: 1,
    voteTop: 2,
    hubs: 0,
    manyToOne: true,
    unknownBelow: 0,
    neighbours: 2,
    smoothing: 7,
  });
  expect([...named]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  expect([...labels]).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  expect(counted.partition.count).toBe(2);
});
