// Where questions are written. Enter sends, Shift+Enter is a new line, Escape stops.

import { byId } from "./dom.js";

export class Composer {
  #field = byId("question");
  #send = byId("send");
  #stop = byId("stop");
  #banner = byId("editing");
  #beforeEdit = null; // what stood here before; null when nothing is edited

  /** `actions` has send(text, isEdit) and stop(). */
  constructor(actions) {
    this.actions = actions;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#stop.addEventListener("click", () => actions.stop());
    byId("stop-editing").addEventListener("click", () => this.stopEditing());
    this.#field.addEventListener("input", () => this.#fit());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
  }

  get text() {
    return this.#field.value;
  }

  /** What is not sent yet; a text that is being edited is no draft. */
  get draft() {
    return this.#beforeEdit ?? this.text;
  }

  set draft(text) {
    this.#beforeEdit = null;
    this.#banner.hidden = true;
    this.#put(text);
  }

  focus() {
    this.#field.focus();
  }

  setRunning(isRunning) {
    this.#send.hidden = isRunning;
    this.#stop.hidden = !isRunning;
  }

  /** Write the last question anew. */
  edit(text) {
    this.#beforeEdit ??= this.text;
    this.#banner.hidden = false;
    this.#put(text);
    this.focus();
  }

  get isEditing() {
    return this.#beforeEdit !== null;
  }

  stopEditing() {
    this.draft = this.#beforeEdit ?? "";
    this.focus();
  }

  #submit() {
    const text = this.text.trim();
    if (!text || this.#send.hidden) return;
    const isEdit = this.isEditing;
    this.draft = isEdit ? this.#beforeEdit : "";
    this.actions.send(text, isEdit);
  }

  #key(event) {
    // While an input method is composing, Enter chooses a word; Safari says so by 229 alone.
    const isComposing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || isComposing) return;
    event.preventDefault();
    this.#submit();
  }

  #put(text) {
    this.#field.value = text;
    this.#fit();
  }

  #fit() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#send.disabled = !this.text.trim();
  }
}
