/** Large feeds travel in memory that comes back. */
import { expect, it } from 'vitest';
import { FeedBuffers } from './feed-buffers.ts';
import * as e from './index.ts';

it('large feeds are copied into memory that is used again, small ones stay as they are', () => {
  const feeds = new FeedBuffers();
  const [large, view, small] = [
    new Float32Array(20_000).fill(2),
    new Int32Array(60_000).subarray(20_000),
    Float32Array.of(1),
  ];
  view.fill(3);
  const first = feeds.lend({ large, view, small });
  expect(first.data).toEqual({ large, view, small });
  expect(first.data.small).toBe(small);
  expect(first.lent).toEqual([first.data.large.buffer, first.data.view.buffer]);
  expect(first.lent.map(({ byteLength }) => byteLength)).toEqual([80_000, 160_000]);
  expect(feeds.lend({ large }).lent[0]).not.toBe(first.lent[0]);
  feeds.takeBack(first.lent);
  const second = feeds.lend({ view, large });
  expect(second.lent).toEqual([first.lent[1], first.lent[0]]);
  expect(second.lent[0]).toBe(first.lent[1]);
  expect(second.data.large).toEqual(large);
});

it('runs that are under way at once each see their own feeds, which stay the caller’s', async () => {
  const x = e.input('x', 'float32', [20_000]);
  const session = await e.compile(e.program({ sum: e.sum(x), last: e.slice(x, 0, -1) }));
  const feed = new Float32Array(20_000);
  const runs = [1, 2, 3].map(value => {
    feed.fill(value);
    return session.run({ x: feed });
  });
  feed.fill(9);
  expect((await Promise.all(runs)).map(({ sum, last }) => [sum[0], last[0]])).toEqual([
    [20_000, 1],
    [40_000, 2],
    [60_000, 3],
  ]);
  expect(feed).toHaveLength(20_000);
  await session.dispose();
});
