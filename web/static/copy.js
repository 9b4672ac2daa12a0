// Buttons that copy a text, and say for a moment that they did.

import { el, icon } from "./dom.js";

const SAID_MS = 1600;

export function copyButton(textOf, label) {
  const button = el("button", {
    type: "button",
    class: "icon-button",
    "aria-label": label,
    title: label,
  });
  button.append(icon("copy"));
  button.addEventListener("click", async () => {
    const isCopied = await copy(textOf());
    button.replaceChildren(icon(isCopied ? "check" : "alert"));
    button.setAttribute("aria-label", isCopied ? "Copied" : "The browser did not allow it");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, SAID_MS);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyTheOldWay(text);
  }
}

/** A page over plain HTTP from another machine has no clipboard of its own. */
function copyTheOldWay(text) {
  const field = el("textarea", { class: "visually-hidden", readonly: true }, text);
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  return isCopied;
}
