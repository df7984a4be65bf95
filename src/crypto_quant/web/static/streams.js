// The table of streams: any number of them, sorted and filtered as they change.

import { byId, el, say } from "./dom.js";
import * as format from "./format.js";
import { VirtualList } from "./virtual.js";

const STATES = ["live", "quiet", "down"];
const HEIGHT = 28;

// what a column sorts by, and how it begins: figures with the largest first
const COLUMNS = [
  { key: "symbol", title: "Symbol", of: (s) => s.symbol },
  { key: "kind", title: "Stream", of: (s) => s.kind },
  { key: "state", title: "State", of: (s) => s.state * 1e9 + s.missing, down: true },
  { key: "rate", title: "Events/s", of: (s) => s.rate, down: true, figure: true },
  { key: "seen", title: "Last event", of: (s) => s.seen ?? 0, down: false, figure: true },
  { key: "lag", title: "Lag", of: (s) => s.lag ?? -1, down: true, figure: true },
  { key: "last", title: "Last id", of: (s) => s.order, figure: true },
  { key: "missing", title: "Missing", of: (s) => s.missing, down: true, figure: true },
];

export class Streams {
  #streams = [];
  #shown = [];
  #sort = { key: "state", down: true };
  #at = 0;
  #now = 0;

  // pick(symbol) is called for the stream that was chosen
  constructor(pick) {
    this.pick = pick;
    this.head = el("div", { class: "row head", role: "row" }, ...COLUMNS.map((column) => this.#title(column)));
    this.box = el("div", { class: "rows", role: "rowgroup" });
    const table = el("div", { class: "streams", role: "grid", "aria-labelledby": "streams-title", tabindex: "-1" },
      el("div", { role: "rowgroup" }, this.head), this.box);
    byId("streams").append(table);
    this.table = table;
    this.list = new VirtualList(this.box, HEIGHT, () => this.#make(), (row, index) => this.#fill(row, index));
    this.filter = byId("streams-filter");
    this.troubled = byId("streams-troubled");
    this.filter.addEventListener("input", () => this.#arrange());
    this.troubled.addEventListener("change", () => this.#arrange());
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.#mark();
  }

  names(names) {
    this.#streams = names.map(([stream, symbol, timeframe], order) => ({
      stream, symbol, order, kind: timeframe === null ? "trades" : timeframe, candles: timeframe !== null,
      state: 0, last: null, seen: null, rate: 0, lag: null, gaps: 0, missing: 0,
      text: `${stream} ${symbol}`.toLowerCase(),
    }));
  }

  rows([state, last, seen, rate, lag, gaps, missing]) {
    this.#streams.forEach((each, at) => {
      each.state = state[at];
      each.last = last[at];
      each.seen = seen[at];
      each.rate = rate[at];
      each.lag = lag[at];
      each.gaps = gaps[at];
      each.missing = missing[at];
    });
  }

  draw(now) {
    this.#now = now;
    this.#arrange();
  }

  focus() {
    this.list.reveal(this.#at)?.focus();
  }

  #arrange() {
    const wanted = this.filter.value.trim().toLowerCase();
    const troubled = this.troubled.checked;
    const column = COLUMNS.find((each) => each.key === this.#sort.key);
    const sign = this.#sort.down ? -1 : 1;
    this.#shown = this.#streams.filter((each) => (!wanted || each.text.includes(wanted)) && (!troubled || each.state || each.missing));
    this.#shown.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      return x === y ? a.order - b.order : (x < y ? -1 : 1) * sign;
    });
    this.#at = Math.max(0, Math.min(this.#at, this.#shown.length - 1));
    this.table.setAttribute("aria-rowcount", this.#shown.length + 1);
    this.box.classList.toggle("few", this.#shown.length * HEIGHT < 360);
    this.box.style.height = `${Math.max(1, Math.min(this.#shown.length, 14)) * HEIGHT}px`;
    this.list.show(this.#shown.length);
    const all = this.#streams.length;
    say(byId("streams-note"), this.#shown.length === all ? format.plural(all, "stream", "streams") : `${format.count(this.#shown.length)} of ${format.count(all)}`);
  }

  #title(column) {
    const button = el("button", { type: "button", text: column.title, on: { click: () => this.#by(column) } });
    return el("span", { role: "columnheader", class: `c-${column.key}${column.figure ? " n" : ""}`, data: { key: column.key } }, button);
  }

  #by(column) {
    const first = column.down ?? false;
    this.#sort = { key: column.key, down: this.#sort.key === column.key ? !this.#sort.down : first };
    this.#mark();
    this.#arrange();
  }

  #mark() {
    for (const head of this.head.children) {
      const sorted = head.dataset.key === this.#sort.key;
      head.setAttribute("aria-sort", sorted ? (this.#sort.down ? "descending" : "ascending") : "none");
    }
  }

  #make() {
    const row = el("div", { class: "row", role: "row", on: { click: () => this.#choose(Number(row.dataset.at)) } });
    for (const column of COLUMNS) row.append(el("span", { role: "gridcell", class: `c-${column.key}${column.figure ? " n" : ""}` }));
    row.children[2].append(el("i", { class: "dot" }), el("b"));
    return row;
  }

  #fill(row, index) {
    const stream = this.#shown[index];
    row.dataset.at = index;
    row.tabIndex = index === this.#at ? 0 : -1;
    row.setAttribute("aria-rowindex", index + 2);
    row.dataset.state = stream.missing ? "missing" : STATES[stream.state];
    const [symbol, kind, state, rate, seen, lag, last, missing] = row.children;
    say(symbol, format.name(stream.symbol));
    say(kind, stream.kind);
    say(state.lastChild, stream.missing ? "holes" : STATES[stream.state]);
    say(rate, stream.candles ? "·" : format.rate(stream.rate));
    say(seen, stream.seen === null ? "–" : `${format.span(Math.max(0, this.#now - stream.seen))} ago`);
    say(lag, format.millis(stream.lag));
    say(last, stream.candles ? format.clock(stream.last) : format.id(stream.last));
    say(missing, stream.missing ? format.count(stream.missing) : "0");
  }

  #choose(index) {
    this.#at = index;
    this.list.draw();
    this.pick(this.#shown[index].symbol, this.#shown[index].candles ? this.#shown[index].kind : null);
  }

  #key(event) {
    const last = this.#shown.length - 1;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: this.list.page, PageUp: -this.list.page, Home: -last, End: last };
    if (event.key in moves) {
      event.preventDefault();
      this.#at = Math.max(0, Math.min(last, this.#at + moves[event.key]));
      this.list.reveal(this.#at)?.focus();
    } else if (event.key === "Enter" && last >= 0) {
      event.preventDefault();
      this.#choose(this.#at);
    }
  }
}
