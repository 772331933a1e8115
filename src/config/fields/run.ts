/** The settings of a run: which images there are, and how they are read. */
import { z } from 'zod';
import { MAX_PIXELS } from '../../images/image.ts';
import { count } from './kinds.ts';

export const runFields = {
  workers: count(0, 256).default(2).describe('Threads that decode images; 0 decodes in the main one'),
  cacheBytes: count(0, Number.MAX_SAFE_INTEGER)
    .default(512 * 2 ** 20)
    .describe('Memory for decoded images during training, in bytes'),
  recursive: z.boolean().default(true).describe('Look into sub-folders'),
  maxPixels: count(1, MAX_PIXELS)
    .default(MAX_PIXELS)
    .describe('Largest image to decode, in pixels; larger ones are skipped and listed'),
  seed: count(0, 2 ** 31 - 1)
    .default(0)
    .describe('Seed of everything random'),
};
