/** The device that a run takes: what `auto` stands for, said once. */
import type { Config } from '../config/schema.ts';
import { chooseDevice, describeChoice, type Provider } from '../engine/index.ts';
import type { RunHooks } from './events.ts';

/** The device itself, or the one that `auto` finds, which a note tells. */
export async function takenDevice(asked: Config['device'], { onEvent }: RunHooks): Promise<Provider> {
  if (asked !== 'auto') return asked;
  const chosen = await chooseDevice(asked);
  onEvent?.({ type: 'note', message: describeChoice(chosen) });
  return chosen.device;
}
