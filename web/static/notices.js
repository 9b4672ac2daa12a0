// A few words at the edge of the page, gone after a while.

import { byId, el } from "./dom.js";

const SHOWN_MS = 7000;

/** Say something; `action` is {label, run}, such as an undo. */
export function notify(words, action) {
  const notice = el("div", { class: "notice" }, el("span", {}, words));
  const button = {
    type: "button",
    class: "button",
    onclick: () => (action.run(), notice.remove()),
  };
  if (action) notice.append(el("button", button, action.label));
  byId("notices").replaceChildren(notice);
  setTimeout(() => notice.remove(), SHOWN_MS);
}

/** For screen readers alone: an answer that is complete is read once, not token by token. */
export function announce(words) {
  byId("announcer").textContent = words;
}
