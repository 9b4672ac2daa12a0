// The dialog to get more models: the catalog, and any repository of the hub.

import { getJson } from "./api.js";
import { bar, byId, el, icon, setBar } from "./dom.js";
import { Pull } from "./pulls.js";
import { bytes } from "./units.js";

const CATALOG = "/mimik-ai/store/v1/catalog";

export class PullDialog {
  #dialog = byId("pull-dialog");
  #jobs;
  #models;
  #use;
  #rows = new Map(); // model id or repository -> Row

  /** `use(id)` begins a chat with a model. */
  constructor(jobs, models, use) {
    this.#jobs = jobs;
    this.#models = models;
    this.#use = (id) => (this.#dialog.close(), use(id));
    byId("pull-form").addEventListener("submit", (event) => this.#pullFromHub(event));
    models.addEventListener("change", () => this.#update());
    jobs.addEventListener("change", ({ detail }) => this.#noteJob(detail));
  }

  async open() {
    byId("pull-failure").hidden = true;
    this.#dialog.showModal();
    try {
      await this.#readCatalog();
    } catch (error) {
      byId("pull-failure").textContent = error.message;
      byId("pull-failure").hidden = false;
    }
  }

  async #readCatalog() {
    const { data } = await getJson(CATALOG);
    for (const { id, repo, bits, kind, size, description } of data) {
      const facts = `${description} · ${bytes(size)}`;
      const section = byId(kind === "llm" ? "catalog-chat" : "catalog-embed");
      this.#row(id, { repo, bits, name: id }, id, facts, section);
    }
    this.#update();
  }

  #pullFromHub(event) {
    event.preventDefault();
    const given = byId("pull-repo").value.trim();
    const repo = given.replace(/^https:\/\/huggingface\.co\//, "");
    const bits = Number(byId("pull-bits").value) || null;
    const known = this.#rows.get(repo.toLowerCase()); // a name of the catalog does as well
    const row = known ?? this.#row(repo, { repo }, repo, "From the hub", byId("pull-others"));
    if (!row.pull.source.name) row.pull.source = { repo, bits };
    row.element.scrollIntoView({ block: "nearest" });
    row.pull.start();
  }

  /** A job of somebody else, such as the command line, has a row too. */
  #noteJob(job) {
    const pulls = [...this.#rows.values()].map((row) => row.pull);
    // One that was begun here may not know yet what its model will be called.
    const isMine = (pull) =>
      pull.modelId === job.model || (!pull.modelId && pull.state === "starting");
    const isKnown = pulls.some(isMine);
    if (!isKnown && job.status === "running" && job.action === "pull") {
      this.#row(job.model, { name: job.model }, job.model, "", byId("pull-others"));
    }
  }

  #row(key, source, title, facts, section) {
    if (!this.#rows.has(key)) {
      const row = new Row(new Pull(this.#jobs, source), title, facts, this.#use);
      this.#rows.set(key, row);
      section.append(row.element);
    }
    return this.#rows.get(key);
  }

  #update() {
    for (const row of this.#rows.values()) {
      const { modelId } = row.pull;
      row.update({
        isHere: this.#models.has(modelId),
        canChat: Boolean(this.#models.get(modelId)),
      });
    }
  }
}

/** One model of the dialog. */
class Row {
  #words = el("small");
  #bar = bar(null, "Progress");
  #buttons = el("div", { class: "buttons" });
  #drawn = "";
  #place = { isHere: false, canChat: false };
  #facts;
  #use;

  constructor(pull, title, facts, use) {
    this.pull = pull;
    this.#facts = facts;
    this.#use = use;
    const words = el("div", { class: "words" }, el("strong", {}, title), this.#words, this.#bar);
    this.element = el("li", { class: "pull", "data-model": title }, words, this.#buttons);
    pull.addEventListener("change", () => this.update());
    this.update();
  }

  update(place = this.#place) {
    if (this.#place.isHere && !place.isHere) this.pull.forget();
    this.#place = place;
    const { state, words, fraction, quants } = this.pull;
    const isHere = state === "here" || (place.isHere && state === "idle");
    const shown = isHere ? "here" : state;
    this.#words.textContent = words || this.#facts;
    this.#words.classList.toggle("failure", shown === "failed");
    this.#bar.hidden = shown !== "running" && shown !== "starting";
    setBar(this.#bar, fraction);
    // Buttons are replaced only when there are others: a moving target cannot be clicked.
    const drawn = JSON.stringify([shown, quants, place]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.dataset.state = shown;
    this.#buttons.replaceChildren(...this.#buttonsOf(shown));
  }

  #buttonsOf(state) {
    const button = (label, onclick) => {
      const said = `${label} ${this.element.dataset.model}`;
      return el("button", { type: "button", class: "button", "aria-label": said, onclick }, label);
    };
    const { pull } = this;
    switch (state) {
      case "here":
        if (!this.#place.canChat) return [el("span", { class: "ready" }, icon("check"), "Ready")];
        return [
          el("span", { class: "ready" }, icon("check"), "Ready"),
          button("Chat", () => this.#use(pull.modelId)),
        ];
      case "running":
        return [button("Cancel", () => pull.cancel())];
      case "starting":
        return [];
    }
    if (pull.quants.length > 0) {
      return pull.quants.map(({ name, file, size }) =>
        button(`${name} (${bytes(size)})`, () => pull.start(file)),
      );
    }
    const label = state === "failed" ? "Try again" : "Pull";
    return pull.source.repo ? [button(label, () => pull.start())] : [];
  }
}
