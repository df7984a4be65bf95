// The page: hears the recorders' state, draws what has changed, and asks the database for what it holds.

import { ask, repeatedly } from "./asking.js";
import { Candles } from "./candles.js";
import { Charts } from "./charts.js";
import { byId, el, say, speak } from "./dom.js";
import { Feed } from "./feed.js";
import * as format from "./format.js";
import { Gaps } from "./gaps.js";
import { Heatmap } from "./heatmap.js";
import * as panels from "./panels.js";
import { Streams } from "./streams.js";

const asked = new URLSearchParams(location.search);
const charts = new Charts();
const candles = new Candles({ symbol: asked.get("symbol"), timeframe: asked.get("timeframe") });
const streams = new Streams((symbol, frame) => candles.show(null, symbol, frame));
const heatmap = new Heatmap((venue, symbol, day, kind) => {
  gaps.choose(venue, symbol, day, kind);
  candles.show(venue, symbol, null);
});
const gaps = new Gaps(() => heatmap.clear());

// what the server has told; `parts` are those of the recorder that is shown
const state = { parts: {}, recorders: [], recorder: "", level: "off", now: 0, heardAt: 0, connected: false };
const changed = new Set();
let drawing = false;

const feed = new Feed((kind, message) => {
  if (kind === "state") {
    state.parts = {};
    charts.reset(message.point, message.points ?? []);
    changed.add("points");
  } else if (message.points?.length) {
    charts.add(message.points);
    changed.add("points");
  }
  state.now = message.now;
  state.heardAt = performance.now();
  state.recorder = message.recorder;
  if (message.recorders) {
    state.recorders = message.recorders;
    state.level = message.level;
    changed.add("recorders");
  }
  for (const [name, part] of Object.entries(message.parts ?? {})) {
    state.parts[name] = part;
    changed.add(name);
  }
  changed.add("now");
  plan();
}, (connected, heard) => {
  if (connected !== state.connected) {
    state.connected = connected;
    document.body.classList.toggle("stale", !connected);
    byId("connection").dataset.state = connected ? "good" : "lost";
    say(byId("connection").lastElementChild, connected ? "connected" : "no connection");
    speak(connected ? "connected" : "connection lost, trying again");
    changed.add("recorders");
    plan();
  }
  byId("lost").hidden = connected;
  if (!connected) say(byId("lost"), `Connection lost, trying again. Figures are those of ${format.clock(heard)} UTC.`);
});

function plan() {
  if (drawing) return;
  drawing = true;
  // a page that nobody sees gets no frames; its title is kept all the same
  if (document.hidden) draw();
  else requestAnimationFrame(draw);
}

function draw() {
  drawing = false;
  const { parts } = state;
  const now = state.now + (performance.now() - state.heardAt);
  if (changed.has("recorders") || changed.has("head")) {
    recorders();
    const worst = state.recorders.find((each) => each.level === state.level);
    if (state.connected) panels.title(state.level, worst?.title ?? "no recorder");
    else panels.title("lost", "connection lost");
  }
  if (parts.names && changed.has("names")) {
    streams.names(parts.names);
    candles.prefer(parts.names[0]?.[1]);
  }
  if (parts.rows && (changed.has("rows") || changed.has("names"))) streams.rows(parts.rows);
  if (document.hidden) {
    changed.delete("recorders");
    return;
  }
  if (parts.head) {
    panels.verdict(parts.head, now);
    if (changed.has("head")) {
      panels.figuresOf(parts.head);
      panels.linksNote(parts.head);
    }
    panels.facts(parts.head, now);
  } else panels.nobody();
  if (parts.links) panels.links(parts.links, now);
  if (changed.has("happenings")) panels.warnings(parts.happenings);
  if (changed.has("gaps") || changed.has("head")) gaps.open(parts.gaps ?? [], parts.head?.gaps ?? 0);
  if (parts.rows) streams.draw(now);
  if (changed.has("points")) charts.draw();
  changed.clear();
}

function recorders() {
  const box = byId("recorders");
  box.hidden = state.recorders.length < 2;
  const shown = JSON.stringify([state.recorders, state.recorder]);
  if (box.hidden || box.dataset.shown === shown) return;
  box.dataset.shown = shown;
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  box.replaceChildren(...state.recorders.map((each) => el("button", {
    type: "button", class: "recorder", title: each.title, "aria-pressed": String(each.key === state.recorder),
    data: { key: each.key, level: each.level }, on: { click: () => feed.open(each.key) },
  }, el("i", { class: "dot" }), el("span", { text: `${each.venue} · ${each.pid}` }))));
  if (focused) box.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// -- what the database holds -------------------------------------------------------------------------------

repeatedly(async () => {
  const answer = await ask("series");
  if (!answer || answer.error) return;
  candles.series(answer.series);
  const kinds = new Set(answer.series.map(([, , kind]) => kind));
  const daily = [...kinds].filter((kind) => kind !== "trades" && !["3d", "1w", "1M"].includes(kind));
  heatmap.kinds([...(kinds.has("trades") || !daily.length ? ["trades"] : []), ...daily]);
}, 10000);
repeatedly(async () => panels.tables(await ask("tables")), 30000);

// -- colours and keys --------------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];
const GLYPHS = { system: "◐", light: "○", dark: "●" };

function theme(next) {
  const root = document.documentElement;
  const before = root.dataset.theme ?? "system";
  const chosen = next ? THEMES[(THEMES.indexOf(before) + 1) % THEMES.length] : before;
  if (chosen === "system") delete root.dataset.theme;
  else root.dataset.theme = chosen;
  try {
    localStorage.setItem("theme", chosen);
  } catch { /* it holds for this page then */ }
  say(byId("theme"), GLYPHS[chosen]);
  const words = { system: "as the system", light: "light", dark: "dark" }[chosen];
  byId("theme").setAttribute("aria-label", `Colours: ${words}`);
  byId("theme").title = `Colours: ${words} (t)`;
  if (next) speak(`colours: ${words}`);
  recolour();
}

function recolour() {
  charts.recolour();
  candles.recolour();
}

byId("theme").addEventListener("click", () => theme(true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
byId("help-open").addEventListener("click", () => byId("help").showModal());
document.addEventListener("visibilitychange", () => document.hidden || plan());

const KEYS = {
  "?": () => byId("help").showModal(),
  "/": () => byId("streams-filter").focus(),
  c: () => heatmap.focus(),
  s: () => streams.focus(),
  t: () => theme(true),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.key === "Escape") {
    if (event.target.matches("input")) event.target.blur();
    else gaps.clear();
    return;
  }
  if (event.target.matches("input, select, textarea")) return;
  if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

theme(false);
feed.open(asked.get("recorder"));
