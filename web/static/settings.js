// The system prompt and the sampling of one conversation.

import { DEFAULT_SAMPLING } from "./conversations.js";
import { byId } from "./dom.js";

export class Settings {
  #dialog = byId("settings-dialog");
  #system = byId("system");
  #fields = {
    temperature: byId("temperature"),
    top_p: byId("top-p"),
    max_tokens: byId("max-tokens"),
    seed: byId("seed"),
  };
  #conversation = null;
  #defaultsOf;

  /** `changed(conversation)` is told of every change; `defaultsOf` it says what its model takes. */
  constructor(changed, defaultsOf) {
    this.#defaultsOf = defaultsOf;
    byId("settings-form").addEventListener("input", ({ target }) => {
      this.#read(target);
      changed(this.#conversation);
    });
    byId("reset-settings").addEventListener("click", () => {
      this.#conversation.system = "";
      this.#conversation.sampling = { ...DEFAULT_SAMPLING };
      this.#write();
      changed(this.#conversation);
    });
  }

  open(conversation) {
    this.#conversation = conversation;
    this.#write();
    this.#dialog.showModal();
  }

  #write() {
    this.#system.value = this.#conversation.system;
    const defaults = this.#defaultsOf(this.#conversation);
    for (const [name, field] of Object.entries(this.#fields)) {
      field.value = this.#conversation.sampling[name] ?? defaults[name] ?? "";
    }
    this.#showNumbers();
  }

  /**
   * Only what was touched is set: the rest stays the model's own. A field that holds no valid number
   * is as if it were empty; the browser marks it.
   */
  #read(touched) {
    this.#conversation.system = this.#system.value;
    for (const [name, field] of Object.entries(this.#fields)) {
      if (field !== touched) continue;
      const isSet = field.value !== "" && field.validity.valid;
      this.#conversation.sampling[name] = isSet ? Number(field.value) : null;
    }
    this.#showNumbers();
  }

  #showNumbers() {
    byId("temperature-shown").textContent = this.#shown("temperature", 1);
    byId("top-p-shown").textContent = this.#shown("top_p", 2);
  }

  #shown(name, numDigits) {
    const set = this.#conversation.sampling[name];
    if (set !== null) return set.toFixed(numDigits);
    const own = this.#defaultsOf(this.#conversation)[name];
    return own === undefined ? "the model's own" : `${own}, the model's own`;
  }
}
