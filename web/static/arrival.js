// The better model that `./scripts/run` brings: that it is on its way, and that it is here.

import { byId } from "./dom.js";
import { fractionOf } from "./jobs.js";
import { notify } from "./notices.js";
import { percent } from "./units.js";

const ACTION = "package"; // what its job does

/** Tells of it on the page that is shown before a chat; in the middle of one, only once it is here. */
export class Arrival {
  #models;
  #isChatting;
  #begin;
  #job = null;
  #isExpected = false; // it was seen coming

  /** `begin()` begins a new chat; `isChatting()` says whether one that has begun is shown. */
  constructor(jobs, models, { isChatting, begin }) {
    this.#models = models;
    this.#isChatting = isChatting;
    this.#begin = begin;
    jobs.addEventListener("change", ({ detail }) => detail.action === ACTION && this.#note(detail));
    models.addEventListener("change", () => this.#look());
  }

  #note(job) {
    this.#job = job;
    if (job.status === "running") this.#isExpected = true;
    this.#draw();
  }

  /** New chats begin with it; one that has begun goes on as it is. */
  #look() {
    const { usual } = this.#models;
    if (this.#isExpected && usual?.id === this.#job.model) {
      this.#isExpected = false;
      const words = `${usual.id} is here, a better model: new chats begin with it.`;
      if (this.#isChatting()) notify(words, { label: "New chat", run: () => this.#begin() });
    }
    this.#draw();
  }

  #draw() {
    const words = this.#words();
    byId("arrival").textContent = words;
    byId("arrival").hidden = words === "";
  }

  #words() {
    const { usual } = this.#models;
    // Whoever chose a model does not wait for this one.
    if (!this.#job || !usual || usual.default_is_chosen || this.#models.has(this.#job.model)) return "";
    const { model, status, stage, error } = this.#job;
    if (status === "failed") return `A better model did not come, so ${usual.id} answers. ${error}`;
    if (status !== "running") return "";
    const fraction = stage === "downloading" ? fractionOf(this.#job) : null;
    const far = fraction === null ? "" : ` (${percent(fraction)})`;
    return `A better model is on its way: ${model}${far}. Until then ${usual.id} answers.`;
  }
}
