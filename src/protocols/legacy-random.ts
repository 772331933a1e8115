/** NumPy's old generator: published splits were drawn with it, so they can only be had again by the same numbers. */

/** Permutations as `numpy.random.RandomState(seed)` gives them. */
export interface LegacyRandom {
  /** `permutation(n)`; `choice(items, size, replace=False)` is the items at its first `size` places. */
  permutation(n: number): Int32Array;
}

const SIZE = 624;

/** A Mersenne Twister (MT19937) seeded as `RandomState(seed)` is. Source: Matsumoto and Nishimura 1998; NumPy's `legacy` routines. */
export function legacyRandom(seed: number): LegacyRandom {
  const state = new Uint32Array(SIZE);
  state[0] = seed;
  for (let i = 1; i < SIZE; i++) {
    state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  }
  let at = SIZE;
  const bits = (): number => {
    if (at === SIZE) {
      twist(state);
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
  /** Uniform in [0, max], by rejection under the smallest mask that holds max. */
  const upTo = (max: number): number => {
    const mask = 2 ** (32 - Math.clz32(max)) - 1;
    let value = (bits() & mask) >>> 0;
    while (value > max) value = (bits() & mask) >>> 0;
    return value;
  };
  return {
    permutation(n) {
      const items = Int32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = upTo(i);
        const held = items[i];
        items[i] = items[j];
        items[j] = held;
      }
      return items;
    },
  };
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < SIZE; i++) {
    const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
    state[i] = state[(i + 397) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
}
