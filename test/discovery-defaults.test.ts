/** What the tables of docs/discovery.md call `auto` is what a run does by default. */
import { expect, it } from 'vitest';
import { AUTO } from '../bench/discovery-variants.ts';
import { parseConfig } from '../src/config/schema.ts';
import { autoParts, promptMargin } from '../src/run/method.ts';

it('has the parts of the settings', () => {
  const config = parseConfig({});
  expect(AUTO).toMatchObject(autoParts(config));
  expect(AUTO).toMatchObject({ overCluster: config.overCluster, promptMargin: promptMargin(config) });
});
