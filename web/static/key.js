// The server's key: the documented default, until the server wants another one.

import { byId } from "./dom.js";

const STORED = "mlx-edge.key";
const DEFAULT = "1234";
let asking = null;

export const key = () => localStorage.getItem(STORED) ?? DEFAULT;
export const isDefaultKey = () => key() === DEFAULT;

/** Resolves when there is another key than the one that was refused. All who wait share a dialog. */
export function anotherKey(refused) {
  if (key() !== refused) return Promise.resolve();
  asking ??= ask(refused).finally(() => (asking = null));
  return asking;
}

function ask(refused) {
  const dialog = byId("key-dialog");
  const field = byId("key-field");
  byId("key-wrong").hidden = refused === DEFAULT;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault(); // nothing works without it
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      const given = field.value.trim();
      if (!given || given === refused) {
        byId("key-wrong").hidden = false;
        return field.select();
      }
      localStorage.setItem(STORED, given);
      dialog.close();
      resolve();
    };
  });
}
