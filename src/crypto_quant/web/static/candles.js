// Candles of one symbol, with a mark where trades are missing or were filled in afterwards.

import { CandlestickSeries, HistogramSeries, createChart, createSeriesMarkers } from "./vendor/lightweight-charts-5.2.1.mjs";
import { ask, repeatedly } from "./asking.js";
import { byId, colour, el, say } from "./dom.js";
import * as format from "./format.js";

const USUAL = ["1m", "5m", "15m", "1h", "4h", "1d"];
const ORDER = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"];
const BARS_SEEN = 110;
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

export class Candles {
  #series = new Map(); // "venue symbol" -> timeframes that are stored
  #frame = "1m";
  #asked = "";
  #fitted = "";
  #marks = [];
  #wanted = null;
  #chosen = false;

  constructor(wanted) {
    this.box = byId("chart");
    this.symbol = byId("symbol");
    this.symbol.addEventListener("change", () => {
      this.#chosen = true;
      this.#turn();
    });
    this.#frame = wanted.timeframe ?? "1m";
    this.#wanted = wanted.symbol ?? null;
    this.chart = createChart(this.box, { autoSize: true, ...this.#colours() });
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, ...this.#candleColours() });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false, color: colour("volume") });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.22 } });
    this.markers = createSeriesMarkers(this.candles, []);
    this.asking = repeatedly(() => this.#ask(), 2000);
    this.#buttons();
  }

  // what is recorded: [venue, symbol, "trades" or a timeframe]
  series(list) {
    this.#series = new Map();
    for (const [venue, symbol, kind] of list) {
      const key = `${venue} ${symbol}`;
      if (!this.#series.has(key)) this.#series.set(key, { venue, symbol, frames: [] });
      if (kind !== "trades") this.#series.get(key).frames.push(kind);
    }
    const venues = new Set([...this.#series.values()].map((each) => each.venue));
    const keys = [...this.#series.keys()];
    if ([...this.symbol.options].map((each) => each.value).join("\n") === keys.join("\n")) return;
    const before = this.symbol.value;
    this.symbol.replaceChildren(...keys.map((key) => {
      const { venue, symbol } = this.#series.get(key);
      return el("option", { value: key, text: venues.size > 1 ? `${format.name(symbol)} (${venue})` : format.name(symbol) });
    }));
    if (this.#series.has(before)) this.symbol.value = before;
    this.#prefer();
    this.#turn();
  }

  // the symbol that is shown until somebody chooses
  prefer(symbol) {
    this.#wanted ??= symbol;
    this.#prefer();
  }

  #prefer() {
    const wanted = [...this.#series.keys()].find((key) => this.#series.get(key).symbol === this.#wanted);
    if (this.#chosen || !wanted || wanted === this.symbol.value) return;
    this.symbol.value = wanted;
    this.#turn();
  }

  show(venue, symbol, frame) {
    const key = [...this.#series.keys()].find((each) => this.#series.get(each).symbol === symbol && (!venue || this.#series.get(each).venue === venue));
    if (!key) return;
    this.#chosen = true;
    this.symbol.value = key;
    if (frame) this.#frame = frame;
    this.#turn();
  }

  recolour() {
    this.chart.applyOptions(this.#colours());
    this.candles.applyOptions(this.#candleColours());
    this.volume.applyOptions({ color: colour("volume") });
    this.#mark();
  }

  #turn() {
    this.#buttons();
    this.asking?.now();
  }

  #buttons() {
    const stored = this.#series.get(this.symbol.value)?.frames ?? [];
    const frames = ORDER.filter((each) => USUAL.includes(each) || stored.includes(each));
    if (!frames.includes(this.#frame)) this.#frame = "1m";
    const box = byId("frames");
    const wanted = `${frames.join()} ${this.#frame}`;
    if (box.dataset.shown === wanted) return;
    const focused = box.contains(document.activeElement);
    box.dataset.shown = wanted;
    box.replaceChildren(...frames.map((frame) => el("button", {
      type: "button", role: "radio", text: frame, "aria-checked": String(frame === this.#frame), tabindex: frame === this.#frame ? "0" : "-1",
      title: stored.includes(frame) ? `${frame} candles as the exchange sent them` : `${frame} candles made of the stored trades`,
      on: { click: () => this.#pick(frame), keydown: (event) => this.#key(event, frames) },
    })));
    if (focused) box.querySelector('[aria-checked="true"]')?.focus();
  }

  #pick(frame) {
    this.#frame = frame;
    this.#turn();
  }

  #key(event, frames) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.#pick(frames[(frames.indexOf(this.#frame) + step + frames.length) % frames.length]);
  }

  async #ask() {
    const series = this.#series.get(this.symbol.value);
    if (!series) return;
    const asked = `${this.symbol.value} ${this.#frame}`;
    const answer = await ask("candles", { venue: series.venue, symbol: series.symbol, timeframe: this.#frame });
    if (answer === null || asked !== `${this.symbol.value} ${this.#frame}`) return;
    if (answer.error) {
      say(byId("candles-note"), `cannot be read: ${answer.error}`);
      return;
    }
    this.#draw(asked, answer);
  }

  #draw(asked, { candles, marks, source }) {
    say(byId("candles-note"), candles.length ? (source === "stored" ? "as the exchange sent them" : "made of the stored trades") : "");
    if (this.#asked !== asked) {
      this.#asked = asked;
      this.box.dataset.series = asked;
    }
    // from here on prices are numbers, for drawing alone
    const length = SECONDS[this.#frame.slice(-1)] * parseInt(this.#frame, 10);
    const rows = [];
    const volumes = [];
    let before = null;
    for (const [time, open, high, low, close, volume] of candles) {
      // a time without a candle keeps its place
      for (let empty = before + length; before !== null && empty < time && rows.length < 2000; empty += length) rows.push({ time: empty });
      rows.push({ time, open: Number(open), high: Number(high), low: Number(low), close: Number(close) });
      volumes.push({ time, value: Number(volume) });
      before = time;
    }
    const decimals = Math.max(0, ...candles.slice(-50).flatMap((candle) => candle.slice(1, 5).map(places)));
    this.candles.applyOptions({ priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals } });
    this.chart.applyOptions({ timeScale: { secondsVisible: length < 60 } });
    this.candles.setData(rows);
    this.volume.setData(volumes);
    this.#marks = marks === null ? null : placed(marks, candles);
    this.#mark();
    if (this.#fitted !== asked && rows.length) {
      this.#fitted = asked;
      this.chart.timeScale().setVisibleLogicalRange({ from: rows.length - BARS_SEEN, to: rows.length + 3 });
    }
    this.#tell(candles, marks);
  }

  #mark() {
    const drawn = { open: ["bad", "aboveBar", "arrowDown", (n) => `${format.count(n)} missing`], fetched: ["busy", "belowBar", "circle", () => ""], dropped: ["soft", "belowBar", "square", (n) => `${format.count(n)} dropped`] };
    this.markers.setMarkers((this.#marks ?? []).map(({ time, state, number }) => {
      const [name, position, shape, text] = drawn[state];
      return { time, position, shape, color: colour(name), text: text(number), size: 1 };
    }));
  }

  #tell(candles, marks) {
    this.box.dataset.open = (this.#marks ?? []).filter((each) => each.state === "open").length;
    this.box.dataset.filled = (this.#marks ?? []).filter((each) => each.state === "fetched").length;
    this.box.dataset.candles = candles.length;
    const foot = byId("candles-text");
    if (!candles.length) say(foot, "No candles yet.");
    else if (marks === null) say(foot, "Marks of what is missing could not be read in time.");
    else {
      const open = marks.filter((each) => each[3] === "open");
      const filled = marks.filter((each) => each[3] === "fetched");
      const total = (list) => list.reduce((sum, each) => sum + each[2], 0);
      const last = candles.at(-1);
      const parts = [`last ${trimmed(last[4])} at ${format.clock(last[0] * 1000)}`];
      parts.push(open.length ? `${format.plural(open.length, "hole", "holes")} open in view (${format.plural(total(open), "trade", "trades")})` : "no hole open in view");
      if (filled.length) parts.push(`${format.plural(filled.length, "stretch", "stretches")} filled afterwards (${format.plural(total(filled), "trade", "trades")})`);
      say(foot, parts.join(" · "));
    }
  }

  #colours() {
    return {
      layout: { background: { type: "solid", color: "transparent" }, textColor: colour("soft"), fontFamily: "system-ui, sans-serif", fontSize: 11, attributionLogo: false },
      grid: { vertLines: { color: colour("grid") }, horzLines: { color: colour("grid") } },
      rightPriceScale: { borderColor: colour("line") },
      timeScale: { borderColor: colour("line"), timeVisible: true, rightOffset: 3 },
      crosshair: { vertLine: { color: colour("faint"), labelBackgroundColor: colour("soft") }, horzLine: { color: colour("faint"), labelBackgroundColor: colour("soft") } },
    };
  }

  #candleColours() {
    const [up, down] = [colour("up"), colour("down")];
    return { upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false };
  }
}

const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
const places = (text) => Math.min(8, (trimmed(text).split(".")[1] ?? "").length);

// marks on the candles that hold them, those of one candle and kind as one
function placed(marks, candles) {
  const times = candles.map((candle) => candle[0]);
  const found = new Map();
  for (const [from, , number, state] of marks) {
    let at = times.findLastIndex((time) => time * 1000 <= from);
    if (at < 0) at = 0;
    const key = `${times[at]} ${state}`;
    const before = found.get(key);
    found.set(key, { time: times[at], state, number: number + (before?.number ?? 0) });
  }
  return [...found.values()].sort((a, b) => a.time - b.time);
}
