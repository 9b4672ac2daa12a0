// An error of the server in a few words, and the button that helps.

import { el } from "./dom.js";

/** A title, and perhaps a button beside "Try again". */
export function adviceOn(error, actions) {
  const button = (label, onclick) =>
    el("button", { type: "button", class: "button", onclick }, label);
  switch (error.code) {
    case "model_not_found":
    case "model_not_ready":
      return {
        title: "This model is not here",
        button: button("Choose a model", actions.chooseModel),
      };
    case "context_length_exceeded":
      return {
        title: "The conversation is too long for this model",
        button: button("New chat", actions.newChat),
      };
    case "insufficient_memory":
      return { title: "Not enough memory", button: button("Unload a model", actions.chooseModel) };
  }
  if (error.status === 429) return { title: "The server is busy" };
  if (error.status === 503) return { title: "The model cannot answer right now" };
  if (error.status === 400)
    return { title: "The server refused this", button: button("Settings", actions.settings) };
  return { title: "That did not work" };
}
