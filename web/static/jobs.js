// Downloads and conversions as the server tells of them, whoever began them.

/** Event: `change`; its detail is the job. */
export class Jobs extends EventTarget {
  #channel;
  #all = new Map();

  constructor(channel) {
    super();
    this.#channel = channel;
    channel.addEventListener("message", ({ detail }) => detail.job && this.#note(detail.job));
    channel.addEventListener("open", () => this.#all.clear()); // it tells of all at once
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
    this.dispatchEvent(new CustomEvent("change", { detail: job }));
  }
}

/** How far a job is, from 0 to 1; null if nobody knows. */
export const fractionOf = (job) => (job.bytes_total ? job.bytes_done / job.bytes_total : null);
