// The page, put together: which conversation is shown, and what a click or a key does.

import { Arrival } from "./arrival.js";
import { Channel } from "./channel.js";
import { ChatSocket } from "./chat_socket.js";
import { Composer } from "./composer.js";
import { Conversations, titleOf } from "./conversations.js";
import { byId } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Generations } from "./generations.js";
import { fractionOf, Jobs } from "./jobs.js";
import { RESTARTED } from "./message.js";
import { Meter } from "./meter.js";
import { Models } from "./models.js";
import { announce, notify } from "./notices.js";
import { Picker } from "./picker.js";
import { PullDialog } from "./pull_dialog.js";
import { Settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { thoughtOf } from "./thought.js";
import { Transcript } from "./transcript.js";
import { percent } from "./units.js";
import { Welcome } from "./welcome.js";

const SHOWN = "mlx-edge.shown";
const MODELS_INTERVAL_MS = 15_000; // models leave memory by themselves, too

const chatChannel = new Channel("/v1/chat/completions");
const jobsChannel = new Channel("/v1/jobs");
const conversations = new Conversations();
const generations = new Generations(new ChatSocket(chatChannel), conversations);
const models = new Models();
const jobs = new Jobs(jobsChannel);
const isRunning = (id) => generations.isRunning(id);

const drawer = new Drawer();
const settings = new Settings(
  (conversation) => conversations.save(conversation),
  (conversation) => models.get(conversation.model)?.sampling ?? {},
);
const pullDialog = new PullDialog(jobs, models, chatWith);
const picker = new Picker(models, chooseModel);
const meter = new Meter(models);
const welcome = new Welcome((prompt) => (send(prompt), composer.focus()));
const composer = new Composer({ send, stop: () => generations.stop(shown.id) });
const sidebar = new Sidebar(isRunning, { open: openConversation, rename, remove });
const transcript = new Transcript(isRunning, {
  again,
  edit: () => composer.edit(lastQuestion().content),
  chooseModel: () => picker.open(),
  newChat,
  settings: () => settings.open(shown),
});
new Arrival(jobs, models, { isChatting: () => shown.messages.length > 0, begin: newChat });
let shown = conversations.get(localStorage.getItem(SHOWN)) ?? conversations.create(null);

// What is shown

function show(conversation) {
  if (shown !== conversation) keepDraft();
  shown = conversation;
  localStorage.setItem(SHOWN, conversation.id);
  composer.draft = conversation.draft;
  transcript.show(conversation);
  if (conversation.isUnread) {
    conversation.isUnread = false;
    conversations.save(conversation);
  }
  update();
}

/** Everything around the transcript. */
function update() {
  const hasBegun = shown.messages.length > 0;
  if (!hasBegun || !shown.model) shown.model = models.preferred();
  byId("welcome").hidden = hasBegun;
  byId("transcript").hidden = !hasBegun;
  document.title = hasBegun ? `${titleOf(shown)} · mlx-edge` : "mlx-edge";
  composer.setRunning(isRunning(shown.id));
  picker.update(shown.model);
  meter.showCached(shown);
  welcome.setModel(shown.model);
  sidebar.update(conversations.list(), shown.id);
}

function keepDraft() {
  shown.draft = composer.draft;
  conversations.save(shown);
}

// Conversations

function newChat() {
  drawer.close();
  show(conversations.create(models.preferred()));
  composer.focus();
}

function openConversation(id) {
  drawer.close();
  if (id !== shown.id) show(conversations.get(id));
}

function rename(id, title) {
  const conversation = conversations.get(id);
  conversation.title = title || null;
  conversations.save(conversation);
  update();
}

function remove(id) {
  const conversation = conversations.get(id);
  generations.stop(id);
  conversations.remove(id);
  if (id === shown.id) show(conversations.create(models.preferred()));
  notify(`“${titleOf(conversation)}” is deleted.`, {
    label: "Undo",
    run: () => (conversations.restore(conversation), openConversation(id)),
  });
}

// Questions and answers

const lastQuestion = () => shown.messages.findLast((message) => message.role === "user");

function send(text, isEdit = false) {
  if (isRunning(shown.id)) return;
  if (!shown.model && !models.isKnown) {
    // Asked before the models are listed: it waits for them.
    models.addEventListener("change", () => send(text, isEdit), { once: true });
    return;
  }
  if (!shown.model) {
    composer.draft = text;
    return pullDialog.open();
  }
  if (isEdit) shown.messages.splice(shown.messages.lastIndexOf(lastQuestion()));
  shown.messages.push({ role: "user", content: text });
  shown.draft = "";
  answer();
}

function again() {
  if (isRunning(shown.id)) return;
  if (shown.messages.at(-1).role === "assistant") shown.messages.pop();
  answer();
}

function answer() {
  generations.start(shown);
  transcript.follow();
  update();
}

generations.addEventListener("progress", ({ detail }) => detail === shown && transcript.update());
generations.addEventListener("restart", ({ detail }) => detail === shown && announce(RESTARTED));
generations.addEventListener("finish", ({ detail: conversation }) => {
  models.refresh(); // it may have been loaded for this
  if (conversation === shown) {
    const { text } = thoughtOf(conversation.messages.at(-1));
    announce(text.slice(0, 1000) || "There is no answer.");
    transcript.update();
  } else if (conversations.get(conversation.id)) {
    conversation.isUnread = true;
    conversations.save(conversation);
  }
  update();
});

// Models

function chooseModel(id) {
  shown.model = id;
  models.pick(id);
  conversations.save(shown);
  update();
  composer.focus();
}

function chatWith(id) {
  models.pick(id);
  if (shown.messages.length > 0) newChat();
  chooseModel(id);
}

models.addEventListener("change", () => {
  // What has not begun follows the default; a conversation keeps the model that it began with.
  if (shown.messages.length === 0 && shown.model !== models.preferred()) update();
  welcome.setModel(shown.model);
});

jobs.addEventListener("change", ({ detail: job }) => {
  if (job.status === "done") models.refresh();
  const running = jobs.running();
  byId("downloads").hidden = running.length === 0;
  if (running.length === 0) return;
  const [first] = running;
  const fraction = fractionOf(first);
  const more = running.length > 1 ? ` and ${running.length - 1} more` : "";
  byId("downloads-words").textContent = `${first.model}${more}`;
  byId("downloads-percent").textContent = fraction === null ? "" : percent(fraction);
});

// The connection

function connectionChanged() {
  const isOpen = chatChannel.isOpen;
  byId("connection").hidden = isOpen;
  if (isOpen) models.refresh();
}

conversations.addEventListener("change", ({ detail: id }) => {
  if (id === shown.id && conversations.get(id) && conversations.get(id) !== shown) {
    show(conversations.get(id)); // another tab wrote to it
  }
  sidebar.update(conversations.list(), shown.id);
});
conversations.addEventListener("full", () => {
  notify("This browser keeps no more: delete old conversations, or this one is lost at a reload.");
});
chatChannel.addEventListener("open", connectionChanged);
chatChannel.addEventListener("close", connectionChanged);

// Buttons and keys

byId("new-chat").addEventListener("click", newChat);
byId("open-settings").addEventListener("click", () => settings.open(shown));
for (const id of ["get-models", "get-models-here", "downloads"]) {
  byId(id).addEventListener("click", () => {
    byId("picker").hidePopover();
    drawer.close();
    pullDialog.open();
  });
}
for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
for (const dialog of document.querySelectorAll("dialog:not(#key-dialog)")) {
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // beside it
}

document.addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open], [popover]:popover-open")) return; // these have their own
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey) {
    event.preventDefault();
    return newChat();
  }
  if (event.key !== "Escape" || event.defaultPrevented) return;
  if (drawer.close()) return;
  if (composer.isEditing) return composer.stopEditing();
  generations.stop(shown.id);
});
window.addEventListener("pagehide", keepDraft);

// The beginning

if (/mac|iphone|ipad/i.test(navigator.platform)) {
  byId("new-chat").querySelector("kbd").textContent = "⌘ K";
}
show(shown);
if (matchMedia("(hover: hover)").matches) composer.focus();
await models.refresh(); // asks for the key, if it has to, before the sockets need it
chatChannel.start();
jobsChannel.start();
setTimeout(() => connectionChanged(), 1000); // no word of it while it is quick
setInterval(() => document.visibilityState === "visible" && models.refresh(), MODELS_INTERVAL_MS);
