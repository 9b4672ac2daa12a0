// Downloads and conversions as the server tells of them, whoever began them.

/** Event: `change`; its detail is the job, or an empty one when all are forgotten. */
export class Jobs extends EventTarget {
  #channel;
  #all = new Map();

  constructor(channel) {
    super();
    this.#channel = channel;
    channel.addEventListener("message", ({ detail }) => detail.job && this.#note(detail.job));
    channel.addEventListener("close", () => this.#forget()); // a new socket tells of all at once
  }

  /** The newest of a model. */
  of(modelId) {
    const mine = [...this.#all.values()].filter((job) => job.model === modelId);
    return mine.sort((a, b) => b.created_at - a.created_at)[0];
  }

  running() {
    return [...this.#all.values()].filter((job) => job.status === "running");
  }

  cancel(id) {
    this.#channel.send({ type: "job.cancel", id });
  }

  #note(job) {
    this.#all.set(job.id, job);
    this.#tell(job);
  }

  #forget() {
    this.#all.clear();
    this.#tell({});
  }

  #tell(detail) {
    this.dispatchEvent(new CustomEvent("change", { detail }));
  }
}

/** How far a job is, from 0 to 1; null if nobody knows. */
export const fractionOf = (job) => (job.bytes_total ? job.bytes_done / job.bytes_total : null);
