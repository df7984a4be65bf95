// The completeness of each symbol on each day, as a grid that the arrow keys walk.

import { ask, repeatedly } from "./asking.js";
import { byId, el, say } from "./dom.js";
import * as format from "./format.js";
import { VirtualList } from "./virtual.js";

const HEIGHT = 24;
const WORDS = { c: "complete", r: "complete, in part repaired", h: "holes", u: "unproven", d: "dropped on purpose", n: "nothing recorded", "?": "not read yet" };

export class Heatmap {
  #days = [];
  #rows = [];
  #shown = [];
  #at = { row: 0, day: 0 };
  #chosen = null;

  // pick(venue, symbol, day, kind) is called for the cell that was chosen
  constructor(pick) {
    this.pick = pick;
    this.head = el("div", { class: "heat-row heat-head", role: "row" });
    this.box = el("div", { class: "heat-rows", role: "rowgroup" });
    this.grid = el("div", { role: "grid", class: "heat-grid", "aria-labelledby": "heat-title" }, el("div", { role: "rowgroup" }, this.head), this.box);
    byId("heat").append(this.grid);
    this.list = new VirtualList(this.box, HEIGHT, () => el("div", { class: "heat-row", role: "row" }), (row, index) => this.#fill(row, index));
    this.kind = byId("heat-kind");
    this.filter = byId("heat-filter");
    this.filter.addEventListener("input", () => this.#arrange());
    this.kind.addEventListener("change", () => this.asking.now());
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("click", (event) => {
      const cell = event.target.closest("[data-day]");
      if (cell) this.#choose(Number(cell.parentElement.dataset.row), Number(cell.dataset.day));
    });
    this.asking = repeatedly(() => this.#ask(), 5000);
  }

  // the kinds that are recorded, for the choice
  kinds(kinds) {
    const before = this.kind.value;
    if ([...this.kind.options].map((each) => each.value).join() === kinds.join()) return;
    this.kind.replaceChildren(...kinds.map((kind) => el("option", { value: kind, text: kind === "trades" ? "trades" : `${kind} candles` })));
    if (kinds.includes(before)) this.kind.value = before;
  }

  focus() {
    this.#reveal();
  }

  async #ask() {
    const kind = this.kind.value || "trades";
    const answer = await ask("completeness", { kind });
    if (answer === null || kind !== (this.kind.value || "trades")) return undefined;
    if (answer.error) {
      say(byId("heat-note"), `cannot be read: ${answer.error}`);
      return undefined;
    }
    this.#days = answer.days;
    this.#rows = answer.rows;
    this.#arrange();
    say(byId("heat-note"), answer.unread ? `reading ${format.plural(answer.unread, "day", "days")} …` : this.#summary());
    return answer.unread ? 700 : undefined;
  }

  #summary() {
    let whole = 0;
    let holes = 0;
    for (const [, , states] of this.#rows) {
      for (const state of states) {
        if (state === "h") holes += 1;
        else if (state === "c" || state === "r") whole += 1;
      }
    }
    if (!this.#rows.length) return "nothing is recorded yet";
    return `${format.plural(this.#rows.length, "symbol", "symbols")}, ${holes ? `${format.plural(holes, "day", "days")} with holes` : `${format.plural(whole, "day", "days")} without a hole`}`;
  }

  #arrange() {
    const wanted = this.filter.value.trim().toLowerCase();
    const selected = this.#shown[this.#at.row]?.[1];
    this.#shown = this.#rows.filter(([, symbol]) => !wanted || symbol.toLowerCase().includes(wanted));
    const place = this.#shown.findIndex(([, symbol]) => symbol === selected);
    this.#at.row = place >= 0 ? place : Math.max(0, Math.min(this.#at.row, this.#shown.length - 1));
    const turned = this.#head();
    if (turned) this.#at.day = this.#days.length - 1;
    this.box.style.height = `${Math.max(1, Math.min(this.#shown.length, 13)) * HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", this.#shown.length + 1);
    this.grid.setAttribute("aria-colcount", this.#days.length + 1);
    this.list.show(this.#shown.length);
    // the newest day is what one looks for where not all have room
    if (turned) byId("heat").scrollLeft = byId("heat").scrollWidth;
  }

  // returns whether the days are others than before
  #head() {
    const before = this.grid.dataset.days;
    this.grid.dataset.days = this.#days.join();
    if (before === this.grid.dataset.days) return false;
    this.grid.style.setProperty("--days", Math.max(this.#days.length, 1));
    this.head.replaceChildren(el("span", { role: "columnheader", class: "heat-name" }, el("span", { class: "hidden", text: "Symbol" })),
      ...this.#days.map((day, at) => {
        const number = day.slice(8);
        const marked = at === 0 || number === "01" || at === this.#days.length - 1 || Number(number) % 5 === 0;
        const close = at > 0 && at < this.#days.length - 1 && at > this.#days.length - 3;
        const text = at === 0 || number === "01" ? day.slice(5) : number;
        return el("span", { role: "columnheader", "aria-label": day, class: "heat-day", text: marked && !close ? text : "" });
      }));
    return true;
  }

  #fill(row, index) {
    const [venue, symbol, states, notes] = this.#shown[index];
    while (row.children.length > this.#days.length + 1) row.lastChild.remove();
    while (row.children.length < this.#days.length + 1) row.append(el("span", row.children.length ? { role: "gridcell", class: "cell" } : { role: "rowheader", class: "heat-name" }));
    row.dataset.row = index;
    row.setAttribute("aria-rowindex", index + 2);
    say(row.firstChild, format.name(symbol));
    row.firstChild.title = venue;
    for (let day = 0; day < this.#days.length; day += 1) {
      const cell = row.children[day + 1];
      const note = notes[day];
      if (cell.dataset.s !== states[day]) cell.dataset.s = states[day];
      cell.dataset.day = day;
      cell.tabIndex = index === this.#at.row && day === this.#at.day ? 0 : -1;
      const chosen = this.#chosen && this.#chosen[0] === venue && this.#chosen[1] === symbol && this.#chosen[2] === this.#days[day];
      cell.classList.toggle("chosen", Boolean(chosen));
      // the little that there is must be seen
      const from = note ? Math.min(note[7] / 10, 84) : 0;
      cell.style.setProperty("--from", from);
      cell.style.setProperty("--to", note ? Math.max(note[8] / 10, from + 16) : 100);
      const label = `${this.#days[day]}: ${words(states[day], note)}`;
      if (cell.title !== label) {
        cell.title = label;
        cell.setAttribute("aria-label", `${format.name(symbol)} ${label}`);
      }
    }
  }

  #choose(row, day) {
    const [venue, symbol] = this.#shown[row];
    this.#at = { row, day };
    this.#chosen = [venue, symbol, this.#days[day]];
    this.list.draw();
    this.pick(venue, symbol, this.#days[day], this.kind.value || "trades");
  }

  clear() {
    this.#chosen = null;
    this.list.draw();
  }

  #reveal() {
    this.list.reveal(this.#at.row)?.children[this.#at.day + 1]?.focus();
  }

  #key(event) {
    const last = { row: this.#shown.length - 1, day: this.#days.length - 1 };
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      PageUp: [-this.list.page, 0], PageDown: [this.list.page, 0], Home: [0, -last.day], End: [0, last.day],
    };
    if (event.key in moves) {
      event.preventDefault();
      const [rows, days] = moves[event.key];
      this.#at = { row: Math.max(0, Math.min(last.row, this.#at.row + rows)), day: Math.max(0, Math.min(last.day, this.#at.day + days)) };
      this.#reveal();
    } else if ((event.key === "Enter" || event.key === " ") && last.row >= 0) {
      event.preventDefault();
      this.#choose(this.#at.row, this.#at.day);
    }
  }
}

function words(state, note) {
  if (!note) return WORDS[state];
  const [, missing, gone, unproven, dropped, fetched, rows, from, to] = note;
  const parts = [WORDS[state]];
  if (missing) parts.push(`${format.count(missing)} missing`);
  if (gone) parts.push(`${format.count(gone)} rows are gone`);
  if (unproven) parts.push(`${format.count(unproven)} unproven`);
  if (dropped) parts.push(`${format.count(dropped)} dropped`);
  if (fetched) parts.push(`${format.count(fetched)} fetched afterwards`);
  if (rows) parts.push(`${format.count(rows)} rows`);
  if (from > 0) parts.push(`begins ${hour(from)}`);
  if (to < 1000) parts.push(`up to ${hour(to)}`);
  return parts.join(", ");
}

function hour(thousandths) {
  const minutes = Math.min(1439, Math.round(thousandths * 1.44));
  return `${String(Math.floor(minutes / 60)).padStart(2, "0")}:${String(minutes % 60).padStart(2, "0")}`;
}
