// Elements made one by one. Nothing in this page parses HTML: what a model says stays text.

export const byId = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick: ...`) and children; null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

/** One of the symbols in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is only an icon, with its name for who cannot see it. */
export function iconButton(name, label, onclick, className = "icon-button") {
  const attributes = {
    type: "button",
    class: className,
    "aria-label": label,
    title: label,
    onclick,
  };
  return el("button", attributes, icon(name));
}

/** A bar from 0 to 1; null is one that does not know how far it is. */
export function bar(fraction, label) {
  const progress = el("progress", { max: 1, "aria-label": label });
  setBar(progress, fraction);
  return progress;
}

export function setBar(progress, fraction) {
  if (fraction == null) progress.removeAttribute("value");
  else progress.value = fraction;
}
