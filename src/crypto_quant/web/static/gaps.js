// What is missing now, or on the day that was chosen: since when, how it was filled, and the command that fills it.

import { ask, repeatedly } from "./asking.js";
import { byId, el, say } from "./dom.js";
import * as format from "./format.js";

const WORDS = { open: "missing", fetched: "filled in", dropped: "dropped on purpose", absent: "exists nowhere" };
const FROM = { rest: "over REST", archive: "from the archive", void: "voided by the exchange" };

export class Gaps {
  #gaps = [];
  #total = 0;
  #chosen = null;

  constructor(cleared) {
    this.box = byId("detail");
    this.close = byId("detail-close");
    this.cleared = cleared;
    this.close.addEventListener("click", () => this.clear());
    this.asking = repeatedly(() => this.#ask(), 4000);
  }

  // all that are open, as the recorder knows them
  open(gaps, total) {
    this.#gaps = gaps;
    this.#total = total;
    if (!this.#chosen) this.#draw();
  }

  choose(venue, symbol, day, kind) {
    this.#chosen = { venue, symbol, day, kind };
    say(byId("detail-title"), format.name(symbol));
    say(byId("detail-note"), `${day} · ${kind}`);
    this.close.hidden = false;
    this.box.replaceChildren(el("p", { class: "quiet", text: "reading …" }));
    this.asking.now();
  }

  clear() {
    if (!this.#chosen) return;
    this.#chosen = null;
    this.close.hidden = true;
    this.cleared();
    this.#draw();
  }

  #draw() {
    say(byId("detail-title"), "Gaps");
    say(byId("detail-note"), this.#total ? `${format.count(this.#total)} open` : "none open");
    if (!this.#gaps.length) {
      this.box.replaceChildren(el("p", { class: "quiet", text: "No trade is known to be missing. Select a day of the map to see what was repaired." }));
      return;
    }
    this.box.replaceChildren(...this.#gaps.slice(0, 100).map(([symbol, first, last, note]) =>
      el("article", { class: "gap", data: { state: "open" } },
        el("h3", {}, el("b", { text: format.name(symbol) }), el("span", { text: size(first, last) })),
        el("p", { class: "ids", text: ids(first, last) }),
        note ? el("p", { text: note }) : null)));
  }

  async #ask() {
    const chosen = this.#chosen;
    if (!chosen) return;
    const answer = await ask("gaps", chosen);
    if (chosen !== this.#chosen || answer === null) return;
    if (answer.error) {
      this.box.replaceChildren(el("p", { class: "quiet", text: `It cannot be read now: ${answer.error}. ${answer.hint}` }));
      return;
    }
    const parts = answer.parts.map((part) => this.#part(part));
    const facts = [];
    if (answer.rows !== null) facts.push(format.plural(answer.rows, "row", "rows"));
    if (answer.first) facts.push(`ids ${format.id(answer.first)} to ${format.id(answer.last)}`);
    if (answer.since) facts.push(`${format.clock(answer.since)} to ${format.clock(answer.until)}`);
    this.box.replaceChildren(
      el("p", { class: "facts", text: facts.join(" · ") || "no rows on this day" }),
      ...(answer.command ? [command(answer.command)] : []),
      ...(parts.length ? parts : [el("p", { class: "quiet", text: answer.rows ? "Nothing was ever missing on this day." : "Nothing is recorded of this day." })]),
      ...(answer.more ? [el("p", { class: "quiet", text: `and ${format.count(answer.more)} more` })] : []));
  }

  #part(part) {
    const until = new Date(part.from).getUTCDate() === new Date(part.to).getUTCDate() ? format.clock : format.moment;
    const when = part.from ? (part.to && part.to !== part.from ? `${format.clock(part.from)} to ${until(part.to)}` : format.clock(part.from)) : "";
    const how = part.state === "fetched" ? `${FROM[part.source] ?? part.source}, ${format.moment(part.at)}` : part.state === "absent" ? (FROM[part.source] ?? "proven") : "";
    return el("article", { class: "gap", data: { state: part.state } },
      el("h3", {}, el("b", { text: WORDS[part.state] ?? part.state }), el("span", { text: format.plural(part.missing, "id", "ids") })),
      el("p", { class: "ids", text: [when, /^\d+$/.test(part.first) ? ids(part.first, part.last) : `${part.first} to ${part.last}`].filter(Boolean).join(" · ") }),
      how || part.note ? el("p", { text: [how, part.note].filter(Boolean).join(": ") }) : null);
  }
}

const ids = (first, last) => (first === last ? `id ${format.id(first)}` : `ids ${format.id(first)} to ${format.id(last)}`);
const size = (first, last) => format.plural(Number(BigInt(last) - BigInt(first)) + 1, "trade", "trades");

function command(text) {
  const button = el("button", { type: "button", class: "plain small", text: "copy", "aria-label": "Copy the command", on: {
    click: async () => {
      try {
        await navigator.clipboard.writeText(text);
        say(button, "copied");
      } catch {
        say(button, "select it");
      }
      setTimeout(() => say(button, "copy"), 1500);
    },
  } });
  // an option stays with its value
  const words = format.name(text).split(/ (?=--)/).flatMap((part, at) => [at ? " " : "", el("span", { text: part })]);
  return el("div", { class: "command" }, el("code", {}, ...words), button);
}
