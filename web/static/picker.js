// The menu of models: which one answers, which are in memory, and what they take there.

import { bar, byId, el, icon, setBar } from "./dom.js";
import { notify } from "./notices.js";
import { bytes, count, percent } from "./units.js";

export class Picker {
  #models;
  #choose;
  #chosen = null;
  #list = byId("models");
  #menu = byId("picker");
  #bars = new Map(); // id -> the bar of a model that loads
  #drawn = "";

  /** `choose(id)` is told of a choice. */
  constructor(models, choose) {
    this.#models = models;
    this.#choose = choose;
    models.addEventListener("change", () => this.update(this.#chosen));
    this.#menu.addEventListener("toggle", ({ newState }) => newState === "open" && this.#opened());
  }

  open() {
    this.#menu.showPopover();
  }

  /** Show the model of the conversation that is shown. */
  update(chosen) {
    this.#chosen = chosen;
    const model = this.#models.get(chosen);
    byId("model-name").textContent = chosen ?? "No model yet";
    byId("model-state").textContent = this.#stateOf(model, chosen);
    byId("model-dot").className = model?.loaded ? "dot is-loaded" : "dot";
    this.#drawList();
  }

  #stateOf(model, chosen) {
    if (!model) return chosen && this.#models.isKnown ? "not here" : "";
    const fraction = this.#models.loading(model.id);
    if (fraction !== undefined) return `loading ${percent(fraction)}`;
    return model.loaded ? `${bytes(model.memory_bytes)} in memory` : "not loaded";
  }

  #opened() {
    this.#models.refresh();
    (
      this.#list.querySelector("[aria-current=true]") ?? this.#list.querySelector("button")
    )?.focus();
  }

  /** Anew only when it says something new, as a button that is replaced cannot be clicked. */
  #drawList() {
    const models = this.#models.list();
    const drawn = JSON.stringify([
      this.#chosen,
      models.map((m) => [m.id, m.memory_bytes, this.#models.loading(m.id) !== undefined]),
      [...this.#models.failures],
    ]);
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#bars.clear();
      this.#list.replaceChildren(...models.map((model) => this.#item(model)));
      const total = models.reduce((sum, model) => sum + (model.memory_bytes ?? 0), 0);
      byId("memory").textContent = total
        ? `Together ${bytes(total)} in memory`
        : "Nothing in memory";
    }
    for (const [id, progress] of this.#bars) setBar(progress, this.#models.loading(id));
  }

  #item(model) {
    const facts = model.loaded
      ? `${bytes(model.memory_bytes)} in memory`
      : `${bytes(model.size_bytes)} on disk · ${count(model.context_length)} tokens of context`;
    const choose = el(
      "button",
      {
        type: "button",
        class: "model",
        "aria-current": model.id === this.#chosen && "true",
        onclick: () => this.#chose(model.id),
      },
      el("span", { class: model.loaded ? "dot is-loaded" : "dot" }),
      el("span", { class: "words" }, el("strong", {}, model.id), el("small", {}, facts)),
      model.id === this.#chosen && icon("check"),
    );
    const failure = this.#models.failures.get(model.id);
    const trouble = failure && el("p", { class: "failure", role: "alert" }, failure);
    return el("li", {}, el("div", { class: "row" }, choose, this.#loadButton(model)), trouble);
  }

  #loadButton(model) {
    if (this.#models.loading(model.id) !== undefined) {
      const progress = bar(0, `Loading ${model.id}`);
      this.#bars.set(model.id, progress);
      return progress;
    }
    const [label, act] = model.loaded
      ? ["Unload", () => this.#unload(model.id)]
      : ["Load", () => this.#models.load(model.id)];
    const attributes = {
      type: "button",
      class: "button",
      "aria-label": `${label} ${model.id}`,
      onclick: act,
    };
    return el("button", attributes, label);
  }

  async #unload(id) {
    const freed = await this.#models.unload(id);
    if (freed !== null) notify(`${id} is unloaded; ${bytes(freed)} came back.`);
  }

  #chose(id) {
    this.#menu.hidePopover();
    this.#choose(id);
  }
}
