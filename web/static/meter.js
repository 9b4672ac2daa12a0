// The meter in the bar: the memory that models take, and how much of a prompt was in it already.

import { byId } from "./dom.js";
import { bytes, count, percent } from "./units.js";

export class Meter {
  /** Memory is shown anew whenever the models are. */
  constructor(models) {
    models.addEventListener("change", () => this.#showMemory(models.memory));
  }

  /** Of a conversation's last answer that has its numbers. */
  showCached(conversation) {
    const last = conversation.messages.findLast((message) => message.stats?.numPromptTokens);
    byId("cached").hidden = !last;
    if (!last) return;
    const { numCached, numPromptTokens } = last.stats;
    setMeter("cached-meter", numCached / numPromptTokens);
    byId("cached-words").textContent = `${percent(numCached / numPromptTokens)} cached`;
    byId("cached").title =
      `Of the last prompt's ${count(numPromptTokens)} tokens ${count(numCached)} ` +
      "were in memory already; the others were read.";
  }

  #showMemory(memory) {
    byId("memory-use").hidden = !memory;
    if (!memory) return;
    const { held_bytes: held, prefix_bytes: prefixes, limit_bytes: limit } = memory;
    setMeter("memory-meter", limit ? Math.min(1, held / limit) : 0);
    byId("memory-words").textContent = `${bytes(held)} of ${bytes(limit)}`;
    byId("memory-use").title =
      `Models take ${bytes(held)} of the ${bytes(limit)} of memory that they can have now; ` +
      `${bytes(prefixes)} of it are prompts and answers that need not be read again.`;
  }
}

function setMeter(id, fraction) {
  const meter = byId(id);
  meter.setAttribute("aria-valuenow", fraction.toFixed(3));
  meter.style.setProperty("--fraction", fraction);
}
