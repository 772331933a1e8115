/** The kinds of values that several settings have. */
import { z } from 'zod';

const MAX_COUNT = 1_000_000_000;

/** A whole number from `low` to `high`; default from 1. */
export const count = (low = 1, high = MAX_COUNT) => z.int().min(low).max(high);

/** A part of a whole, from 0 to 1. */
export const share = () => z.number().min(0).max(1);

/** A text that is not empty. */
export const text = () => z.string().min(1).max(4096);
