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

  /** `changed(conversation)` is told of every change. */
  constructor(changed) {
    byId("settings-form").addEventListener("input", () => {
      this.#read();
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
    for (const [name, field] of Object.entries(this.#fields)) {
      field.value = this.#conversation.sampling[name] ?? "";
    }
    this.#showNumbers();
  }

  /** A field that holds no valid number is as if it were empty; the browser marks it. */
  #read() {
    this.#conversation.system = this.#system.value;
    for (const [name, field] of Object.entries(this.#fields)) {
      const isSet = field.value !== "" && field.validity.valid;
      this.#conversation.sampling[name] = isSet ? Number(field.value) : null;
    }
    this.#showNumbers();
  }

  #showNumbers() {
    byId("temperature-shown").textContent = Number(this.#fields.temperature.value).toFixed(1);
    byId("top-p-shown").textContent = Number(this.#fields.top_p.value).toFixed(2);
  }
}
