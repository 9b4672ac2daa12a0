// The models that can chat: what is here, what is in memory, and what is on its way there.

import { events, getJson } from "./api.js";

const PICKED = "mlx-edge.picked"; // {id, instead}: the default of then
const path = (id) => `/v1/models/${encodeURIComponent(id)}`;

/** Event: `change`. */
export class Models extends EventTarget {
  #all = [];
  memory = null; // what models hold, how much of it are prefixes, and what they can have
  #loads = new Map(); // id -> fraction
  failures = new Map(); // id -> why the last load or unload failed
  isKnown = false;

  /** Models to chat with; encoders are none. */
  list() {
    return this.#all.filter((model) => model.capabilities?.chat);
  }

  /** Whether it is ready, whatever it does. */
  has(id) {
    return this.#all.some((model) => model.id === id);
  }

  get(id) {
    return this.list().find((model) => model.id === id);
  }

  /** How much of it is loaded while it loads, from 0 to 1; else undefined. */
  loading(id) {
    return this.#loads.get(id);
  }

  /** What answers where nobody picks: the server says which. */
  get usual() {
    return this.list().find((model) => model.default) ?? this.list()[0];
  }

  /** The one to begin with: what was picked here, unless `mlx-edge default` chose another since. */
  preferred() {
    const { id, instead } = JSON.parse(localStorage.getItem(PICKED)) ?? {};
    const isOverruled = this.usual?.default_is_chosen && this.usual.id !== instead;
    if (isOverruled) localStorage.removeItem(PICKED);
    return ((isOverruled ? null : this.get(id)) ?? this.usual)?.id ?? null;
  }

  pick(id) {
    localStorage.setItem(PICKED, JSON.stringify({ id, instead: this.usual?.id }));
  }

  /** Look again. A server that is away leaves the list as it was. */
  async refresh() {
    try {
      const { data, memory } = await getJson("/v1/models");
      this.#all = data;
      this.memory = memory ?? null;
      this.isKnown = true;
      this.#tell();
    } catch (error) {
      console.warn("the list of models:", error.message);
    }
  }

  async load(id) {
    this.failures.delete(id);
    this.#note(id, 0);
    try {
      for await (const step of events("/v1/models", { method: "POST", body: { model: id } })) {
        if (step.type === "model.loading") this.#note(id, step.progress);
      }
    } catch (error) {
      this.failures.set(id, error.message);
    }
    this.#loads.delete(id);
    await this.refresh();
  }

  /** How many bytes came back; null if it failed. */
  async unload(id) {
    this.failures.delete(id);
    try {
      const { freed_bytes: freed } = await getJson(path(id), { method: "DELETE" });
      return freed;
    } catch (error) {
      this.failures.set(id, error.message);
      return null;
    } finally {
      await this.refresh();
    }
  }

  #note(id, fraction) {
    this.#loads.set(id, fraction);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
