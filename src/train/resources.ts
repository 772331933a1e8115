/** Sessions, threads and files that some work opens one after the other and leaves together. */

export interface Resource {
  dispose(): Promise<void>;
}

export interface Resources {
  /** Has a resource disposed of at the end of the work, before those that were opened earlier. */
  add<R extends Resource>(resource: R): R;
}

/**
 * Does some work and disposes of what it opened, however it ends. What the work throws is thrown on, whatever goes wrong after it;
 * one resource that cannot be disposed of keeps no other open.
 */
export async function withResources<T>(work: (opened: Resources) => Promise<T>): Promise<T> {
  const opened: Resource[] = [];
  const failures: unknown[] = [];
  let result: T | undefined;
  try {
    result = await work({
      add(resource) {
        opened.push(resource);
        return resource;
      },
    });
  } catch (error) {
    failures.push(error);
  }
  for (const resource of opened.reverse()) {
    try {
      await resource.dispose();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return result as T;
}
