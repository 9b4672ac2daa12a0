// What is being fetched from the hub by this page, and what became of it.

import { events } from "./api.js";
import { fractionOf } from "./jobs.js";
import { bytes, percent } from "./units.js";

const PULL = "/mimik-ai/store/v1/hf/models/pull";

/** One model that is here or could be. Its state is `here`, `idle`, `starting`, `running`, `failed`. */
export class Pull extends EventTarget {
  #jobs;
  #failure = null;
  #isStarting = false;
  #isCancelled = false;
  #isHere = false; // it was here before
  #forgotten = null; // a job whose model was removed
  quants = []; // to choose from, where the repository has several

  /** `source` is {repo, bits, name}; without a name the server finds one. */
  constructor(jobs, source) {
    super();
    this.#jobs = jobs;
    this.source = source;
    this.modelId = source.name ?? null;
    jobs.addEventListener("change", ({ detail: { model } }) => {
      if (model === this.modelId || model === undefined) this.#tell();
    });
  }

  /** The newest job of its model. */
  get job() {
    const job = this.modelId ? this.#jobs.of(this.modelId) : undefined;
    return job && job.id !== this.#forgotten ? job : undefined;
  }

  /** The model was removed again. */
  forget() {
    if (this.job?.status !== "running") this.#forgotten = this.job?.id ?? null;
    this.#isHere = false;
  }

  get state() {
    if (this.#failure) return "failed";
    if (this.job?.status === "running") return "running";
    if (this.#isStarting) return "starting";
    if (this.job?.status === "failed") return "failed";
    return this.#isHere || this.job?.status === "done" ? "here" : "idle";
  }

  get words() {
    const { job } = this;
    switch (this.state) {
      case "starting":
        return "Asking the hub…";
      case "failed":
        return this.#failure ?? job.error ?? "It failed.";
      case "running":
        return runningWords(job);
    }
    return job?.status === "cancelled" ? "Cancelled. What has arrived is kept." : "";
  }

  get fraction() {
    return this.job?.status === "running" ? fractionOf(this.job) : null;
  }

  /** Begin, or go on where it stopped. `quant` picks a file of a GGUF repository. */
  async start(quant) {
    this.#failure = null;
    this.#isStarting = true;
    this.#isCancelled = false;
    this.quants = [];
    this.#tell();
    try {
      for await (const event of events(PULL, {
        method: "POST",
        body: bodyOf(this.source, quant),
      })) {
        this.#note(event);
      }
    } catch (error) {
      // A job that runs goes on without this stream, and the jobs' socket tells of its end.
      if (this.job?.status !== "running" && !this.#isCancelled) this.#failure = error.message;
    }
    this.#isStarting = false;
    this.#tell();
  }

  cancel() {
    this.#isCancelled = true;
    if (this.job) this.#jobs.cancel(this.job.id);
  }

  #note(event) {
    this.modelId = event.modelId ?? this.modelId;
    this.#isHere ||= event.stage === "already_exists";
    if (event.stage === "error" && !this.#isCancelled) this.#failure = event.message;
    if (event.stage === "quant_required") {
      this.quants = event.available;
      this.#failure = "This repository has several files. Which one?";
    }
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

function bodyOf({ repo, bits, name }, quant) {
  const given = Object.entries({ repo, bits, name, quant }).filter(([, value]) => value != null);
  return Object.fromEntries(given);
}

function runningWords(job) {
  const { stage, bytes_done: done, bytes_total: total, bytes_per_s: speed } = job;
  const parts = [stage[0].toUpperCase() + stage.slice(1)];
  if (total) parts[0] += ` ${percent(done / total)}`;
  if (total) parts.push(`${bytes(done)} of ${bytes(total)}`);
  if (speed) parts.push(`${bytes(speed)}/s`);
  return parts.join(" · ");
}
