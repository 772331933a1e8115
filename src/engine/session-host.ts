/**
 * A session whose states are on the host (host-states.ts).
 *
 * A state that is written in place (in-place.ts) has one buffer; others have two that swap after each run. What a kernel updates
 * (fused-states.ts) lies in its memory, the gradients too.
 */
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { discard } from './discard.ts';
import { fusedStates } from './fused-states.ts';
import type { TensorData } from './graph.ts';
import { type HostStates, hostStates, type Slot, slotOf } from './host-states.ts';
import { STEPS, stackOf, stepsFed } from './loop-model.ts';
import type { OpenSession, SessionPlan } from './session-plan.ts';
import { bytesOf } from './tensor-data.ts';
import { runInto } from './uncopied.ts';

/** Opens a plan; one with constants is opened at the first run, when they have their values. */
export async function openOnHost(plan: SessionPlan): Promise<OpenSession> {
  const { model, inputs, outputs, unread, steps, options } = plan;
  const fused = fusedStates(plan.updates, plan.norms);
  const states = hostStates(inputs, fused);
  const frozen = inputs.filter(input => input.frozen).map(({ name }) => name);
  let session = frozen.length === 0 ? await InferenceSession.create(model, options) : undefined;
  const next = new Map<string, Slot>();
  const results = new Map<string, Slot>();
  for (const { dtype, shape, feeds, name, inPlace } of outputs) {
    if (!feeds) results.set(name, states.blank(name, dtype, shape));
    else if (!inPlace) next.set(feeds, states.blank(name, dtype, shape));
  }
  // The others are read by updates.
  const returned = [...results.keys()].filter(name => !name.startsWith(':'));

  const refuseConstants = (names: readonly string[]): void => {
    const late = session && names.find(name => frozen.includes(name));
    if (late !== undefined) throw new Error(`the state '${late}' is a constant since the first run`);
  };
  const tensorsFor = (data: Record<string, TensorData>, count: number | undefined): Record<string, Tensor> => {
    const feeds: Record<string, Tensor> = {};
    if (count !== undefined) feeds[STEPS] = slotOf('int64', BigInt64Array.of(BigInt(count)), []).tensor;
    for (const { name, dtype, shape, state, frozen: constant, read } of inputs) {
      if (constant || !read) continue;
      const fed = count === undefined ? shape : stackOf(count, shape);
      feeds[name] = (state ? states.slot(name) : slotOf(dtype, data[name], fed)).tensor;
    }
    return feeds;
  };
  const targets = (): Record<string, Tensor | null> => {
    const fetches: Record<string, Tensor | null> = unread === undefined ? {} : { [unread]: null };
    for (const { name, feeds, inPlace } of outputs) {
      const slot = feeds ? (inPlace ? states.slot(feeds) : next.get(feeds)!) : results.get(name)!;
      fetches[name] = slot.tensor;
    }
    return fetches;
  };
  return {
    getsCopies: true,
    async run(data) {
      session ??= await withConstants(plan, states, frozen);
      const count = steps === undefined ? undefined : stepsFed(data, inputs, steps);
      if (count !== undefined) {
        for (const { name, dtype, shape, feeds } of outputs) {
          if (!feeds) results.set(name, states.blank(name, dtype, stackOf(count, shape)));
        }
      }
      await runInto(session, tensorsFor(data, count), targets());
      // Stacks are large, and the next is on its way.
      if (count !== undefined) discard(Object.values(data));
      for (const [name, slot] of next) next.set(name, states.exchange(name, slot));
      const norms = fused.update(name => results.get(name)!.data);
      return { ...Object.fromEntries(returned.map(name => [name, results.get(name)!.data])), ...norms };
    },
    async set(values) {
      refuseConstants(Object.keys(values));
      states.set(values);
    },
    async get(names) {
      refuseConstants(names);
      return Object.fromEntries(names.map(name => [name, states.valuesOf(name)]));
    },
    async release() {
      if (options.enableProfiling) session?.endProfiling();
      await session?.release();
    },
  };
}

/** The session of a model with constants, of which ONNX Runtime keeps its own copy. */
async function withConstants(
  { model, options }: SessionPlan,
  states: HostStates,
  names: readonly string[],
): Promise<InferenceSession> {
  const externalData = names.map(name => ({ path: name, data: bytesOf(states.slot(name).data) }));
  const made = await InferenceSession.create(model, { ...options, externalData });
  states.forget(names);
  return made;
}
