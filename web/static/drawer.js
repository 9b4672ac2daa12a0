// The list of conversations on a narrow page: it slides in over the chat.

import { byId } from "./dom.js";

const narrow = matchMedia("(max-width: 760px)");

export class Drawer {
  #isOpen = false;

  constructor() {
    byId("open-drawer").addEventListener("click", () => this.#set(true));
    byId("close-drawer").addEventListener("click", () => this.close());
    byId("shade").addEventListener("click", () => this.close());
    narrow.addEventListener("change", () => this.#set(false));
    this.#set(false);
  }

  /** Whether it was open. */
  close() {
    const wasOpen = this.#isOpen;
    this.#set(false);
    if (wasOpen) byId("open-drawer").focus();
    return wasOpen;
  }

  #set(isOpen) {
    this.#isOpen = isOpen;
    document.body.classList.toggle("has-drawer", isOpen);
    byId("open-drawer").setAttribute("aria-expanded", String(isOpen));
    // What cannot be seen cannot be reached with the keyboard either.
    byId("sidebar").inert = narrow.matches && !isOpen;
    byId("main").inert = isOpen;
    if (isOpen) byId("close-drawer").focus();
  }
}
