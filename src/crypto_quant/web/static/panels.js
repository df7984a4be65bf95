// What is small enough to be written anew each time: the verdict, the figures, links, warnings, facts.

import { byId, el, say } from "./dom.js";
import * as format from "./format.js";

const GLYPHS = { good: "✓", busy: "…", off: "○", warn: "!", bad: "✕" };
const HUES = { good: "#1f9d6b", busy: "#3b82c4", off: "#8a929a", warn: "#d98a14", bad: "#d7372f", lost: "#8a929a" };

export function verdict(head, now) {
  const { verdict: found } = head;
  const box = byId("verdict");
  box.dataset.level = found.level;
  say(byId("title"), found.title);
  const words = [head.venue, format.plural(head.symbols, "symbol", "symbols"), format.plural(head.streams, "stream", "streams"),
    head.alive ? `${head.phase} for ${format.span(now - head.started)}` : `last seen ${format.moment(head.taken)}, what follows is of then`];
  document.body.classList.toggle("gone", !head.alive);
  if (found.level === "good" && head.commit[0] !== null) words.push(`stored ${format.millis(head.commit[0])} after arrival`);
  say(byId("about"), words.join(" · "));
  const list = byId("ailments");
  const proofs = found.ailments.length || found.level !== "good" ? [] : [
    "no id is missing", `${head.linksUp} of ${head.links} ${head.links === 1 ? "link" : "links"} up`,
    "the database takes rows", head.spool.rows ? "" : "nothing in the spool",
  ].filter(Boolean);
  const ailments = found.ailments.filter((each) => each.what !== found.title || each.cause || each.remedy);
  const wanted = JSON.stringify([ailments, proofs]);
  if (list.dataset.shown !== wanted) {
    list.dataset.shown = wanted;
    list.classList.toggle("proofs", proofs.length > 0);
    if (proofs.length) list.replaceChildren(...proofs.map((proof) => el("li", { text: proof })));
    else list.replaceChildren(...ailments.map((each) => el("li", { data: { level: each.level } },
      each.what === found.title ? null : el("b", { text: format.name(each.what) }),
      each.since || each.cause ? el("em", { text: format.name(reason(each)) }) : null, each.remedy ? el("span", { text: format.name(each.remedy) }) : null)));
  }
}

const reason = ({ since, cause }) => [since ? `since ${format.moment(since)}` : "", cause].filter(Boolean).join(": ");

export function nobody() {
  byId("verdict").dataset.level = "off";
  document.body.classList.remove("gone");
  say(byId("title"), "No recorder is running here");
  say(byId("about"), "What the database holds is shown below, if there is one to read.");
  const list = byId("ailments");
  list.dataset.shown = "";
  list.classList.remove("proofs");
  list.replaceChildren(el("li", { data: { level: "off" } }, el("span", { text: "Start one: crypto-quant record btcusdt" })));
}

export function title(level, text) {
  document.title = `${GLYPHS[level] ?? "○"} ${text} — crypto-quant`;
  const icon = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="${HUES[level] ?? HUES.lost}"/><text x="16" y="23" font-family="sans-serif" font-weight="700" font-size="20" text-anchor="middle" fill="#fff">${GLYPHS[level] ?? "○"}</text></svg>`)}`;
  if (byId("icon").href !== icon) byId("icon").href = icon;
}

// a figure is { label, value, more, level }
function figures(list) {
  const box = byId("figures");
  if (box.children.length !== list.length) {
    box.replaceChildren(...list.map(() => el("div", {}, el("dt"), el("dd", {}, el("b")), el("dd", { class: "more" }))));
  }
  list.forEach(({ label, value, more, level }, at) => {
    const [dt, dd, dm] = box.children[at].children;
    say(dt, label);
    say(dd.firstChild, value);
    say(dm, more);
    box.children[at].dataset.level = level ?? "";
  });
}

export function figuresOf(head) {
  const { counts, spool, disks } = head;
  const spread = ([, p95, p99]) => `p95 ${format.millis(p95)}, p99 ${format.millis(p99)}`;
  const disk = disks.reduce((least, each) => (least === null || each.free_bytes < least.free_bytes ? each : least), null);
  figures([
    { label: "Missing", value: head.missing || head.gaps ? format.count(head.missing) : "0", more: head.gaps ? `${format.plural(head.gaps, "gap", "gaps")} open` : `${format.count(counts.gaps ?? 0)} found, all closed`, level: head.gaps ? "bad" : head.verdict.level === "good" ? "good" : "" },
    { label: "Trades/s", value: format.rate(head.rate), more: `${format.count(counts.trades_written)} stored` },
    { label: "Frames/s", value: format.rate(head.frames), more: `${format.count(counts.frames_received)} received` },
    { label: "Event → commit", value: format.millis(head.event[0]), more: spread(head.event) },
    { label: "Database write", value: format.millis(head.write[0]), more: spread(head.write), level: head.store.away ? "bad" : "" },
    { label: "Waiting", value: format.count(head.pending), more: head.phase === "paused" ? "sockets are not read" : "in memory and spool", level: head.phase === "paused" ? "warn" : "" },
    { label: "Spool", value: spool.directory ? format.bytes(spool.bytes) : "none", more: spool.directory ? `${format.count(spool.rows)} rows of ${format.bytes(spool.limit_bytes)}` : "rows wait in memory", level: spool.refused ? "bad" : spool.rows ? "warn" : "" },
    { label: "Disk free", value: disk ? format.bytes(disk.free_bytes) : "–", more: disk && disk.total_bytes ? `${format.percent(disk.free_bytes / disk.total_bytes)} of ${format.bytes(disk.total_bytes)}` : "", level: { wrong: "bad", note: "warn" }[disk?.level] },
  ]);
}

export function links(list, now) {
  const rows = byId("links").tBodies[0];
  while (rows.rows.length > Math.min(list.length, 100)) rows.deleteRow(-1);
  list.slice(0, 100).forEach(([number, state, since, streams, attempt, cause], at) => {
    const row = rows.rows[at] ?? rows.appendChild(el("tr", {}, el("th", { scope: "row" }), el("td", {}, el("i", { class: "dot" }), el("b"), el("span", { class: "cause" })), el("td", { class: "n" }), el("td", { class: "n" })));
    row.dataset.state = state;
    say(row.cells[0], `#${number}`);
    say(row.cells[1].children[1], state);
    say(row.cells[1].children[2], [attempt ? `attempt ${attempt + 1}` : "", format.name(cause)].filter(Boolean).join(": "));
    say(row.cells[2], format.count(streams));
    say(row.cells[3], format.span(Math.max(0, now - since)));
  });
}

export function linksNote(head) {
  const { reconnects = 0, rollovers = 0 } = head.counts;
  say(byId("links-note"), `${head.linksUp} of ${head.links} up · ${format.plural(reconnects, "reconnect", "reconnects")} · ${format.plural(rollovers, "rollover", "rollovers")}`);
}

export function warnings(list) {
  const box = byId("warnings");
  say(byId("warnings-note"), list.length ? "newest first" : "");
  if (!list.length) {
    box.replaceChildren(el("li", { class: "quiet", text: "Nothing worth a look has happened in this run." }));
    return;
  }
  box.replaceChildren(...list.toReversed().map(([at, level, message, fields]) => el("li", { data: { level } },
    el("time", { text: format.clock(at) }), el("b", { text: format.name(message) }),
    el("span", { text: Object.entries(fields).map(([key, value]) => `${format.name(key)} ${format.name(value)}`).join(" · ") }))));
}

function pairs(id, list) {
  const box = byId(id);
  if (box.children.length !== list.length * 2) box.replaceChildren(...list.flatMap(() => [el("dt"), el("dd")]));
  list.forEach(([label, value], at) => {
    say(box.children[at * 2], label);
    say(box.children[at * 2 + 1], value);
  });
}

export function facts(head, now) {
  const { store, spool, process, counts } = head;
  pairs("database", [
    ["Database", format.name(store.database)],
    ["Tier", store.tier || "–"],
    ["State", store.away ? `away for ${format.span(now - store.away)}` : "takes rows"],
    ["Last commit", store.committed ? `${format.span(Math.max(0, now - store.committed))} ago` : "–"],
    ["Failed attempts", format.count(store.failures)],
    ["Connections", `${store.pool[0]} busy, ${store.pool[1]} open of ${store.pool[2]}`],
    ["Spool", spool.directory ? `${format.count(spool.rows)} rows in ${format.plural(spool.records, "record", "records")}` : "none"],
    ["Set aside", format.plural((counts.trades_set_aside ?? 0) + (counts.candles_set_aside ?? 0) + (counts.frames_set_aside ?? 0), "row or frame", "rows and frames")],
  ]);
  pairs("process", [
    ["Version", head.version],
    ["Process", String(head.pid)],
    ["Started", format.moment(head.started)],
    ["Memory", format.bytes(process.resident_bytes)],
    ["Processor time", format.span(process.cpu_seconds * 1000)],
    ["Open files", `${format.count(process.open_files)} of ${format.count(process.open_files_limit)}`],
    ["Trades received", format.count(counts.trades_received)],
    ["Fetched afterwards", format.count(counts.trades_backfilled)],
  ]);
}

export function tables(answer) {
  const box = byId("tables");
  if (answer === null) return;
  if (answer.error) {
    say(byId("tables-note"), "cannot be read");
    box.replaceChildren(el("p", { class: "quiet", text: `${answer.error}. ${answer.hint}` }));
    return;
  }
  say(byId("tables-note"), format.name(answer.database));
  const most = Math.max(1, ...answer.tables.map(([, size]) => size));
  box.replaceChildren(...answer.tables.map(([table, size, chunks, columnar, before, after]) => {
    const meter = el("div", { class: "meter" }, el("i"));
    meter.firstChild.style.inlineSize = `${(size / most) * 100}%`;
    const more = [format.plural(chunks, "chunk", "chunks")];
    if (columnar) more.push(`${format.count(columnar)} as columns${before && after ? `, ${(before / after).toFixed(1)} times smaller` : ""}`);
    return el("div", { class: "table-size" }, el("b", { text: table }), el("span", { text: format.bytes(size) }), meter, el("small", { text: more.join(" · ") }));
  }));
}
