// Lines over the last minutes. The points are one set of columns for all of them.

import { byId, colour, el } from "./dom.js";
import * as format from "./format.js";

const POINTS = 600;
// what each plot draws: column, name, colour of the theme, filled
const PLOTS = {
  rate: { lines: [["rate", "trades/s", "line-1", true], ["frames", "frames/s", "line-2"]], show: format.rate },
  event: { lines: [["event50", "p50", "line-1", true], ["event95", "p95", "line-2"], ["event99", "p99", "line-3"]], show: format.millis },
  write: { lines: [["write50", "p50", "line-1", true], ["write95", "p95", "line-2"], ["write99", "p99", "line-3"]], show: format.millis },
  pending: { lines: [["pending", "rows", "line-1", true]], show: format.count },
};

export class Charts {
  #columns = [];
  #points = [];
  #plots = {};

  constructor() {
    this.resizing = new ResizeObserver((entries) => entries.forEach((entry) => this.#resize(entry.target.id)));
    for (const id of Object.keys(PLOTS)) this.resizing.observe(byId(id));
  }

  // all points there are: `columns` names what each holds
  reset(columns, points) {
    this.#columns = columns;
    this.#points = points.slice(-POINTS);
  }

  add(points) {
    this.#points.push(...points);
    if (this.#points.length > POINTS) this.#points.splice(0, this.#points.length - POINTS);
  }

  draw() {
    if (document.hidden) return;
    const times = this.#points.map((point) => point[0] / 1000);
    for (const [id, { lines }] of Object.entries(PLOTS)) {
      const values = lines.map(([column]) => {
        const at = this.#columns.indexOf(column);
        return this.#points.map((point) => point[at] ?? null);
      });
      this.#plots[id] ??= this.#make(id);
      this.#plots[id].setData([times, ...values]);
      this.#legend(id, values);
    }
  }

  // colours are drawn, so other colours are other plots
  recolour() {
    for (const plot of Object.values(this.#plots)) plot.destroy();
    this.#plots = {};
    for (const id of Object.keys(PLOTS)) byId(`${id}-legend`).replaceChildren();
    this.draw();
  }

  #legend(id, values) {
    const box = byId(`${id}-legend`);
    const { lines, show } = PLOTS[id];
    if (!box.children.length) box.append(...lines.map(([, title], at) => el("span", { data: { line: at + 1 } }, el("i"), el("span", { text: title }), el("b"))));
    lines.forEach((_, at) => {
      const latest = values[at].at(-1);
      const text = show(latest ?? null);
      if (box.children[at].lastChild.textContent !== text) box.children[at].lastChild.textContent = text;
    });
  }

  #make(id) {
    const { lines, show } = PLOTS[id];
    const box = byId(id);
    const axis = { stroke: colour("soft"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return new uPlot({
      width: Math.max(box.clientWidth, 100),
      height: box.clientHeight || 132,
      padding: [8, 14, 0, 0],
      legend: { show: false },
      cursor: { points: { size: 5 }, drag: { x: false, y: false }, y: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), "Etc/UTC"),
      scales: { y: { range: (_u, _low, high) => [0, Math.max(high * 1.15, id === "pending" ? 10 : 1)] } },
      axes: [
        { ...axis, space: 70, size: 22, values: (_u, ticks) => ticks.map((s) => new Date(s * 1000).toISOString().slice(11, s % 60 ? 19 : 16)) },
        { ...axis, space: 32, size: 50, values: (_u, ticks) => ticks.map((value) => (id === "event" || id === "write" ? short(value) : format.rate(value))) },
      ],
      series: [{}, ...lines.map(([, title, name, filled]) => ({
        label: title, stroke: colour(name), width: filled ? 1.5 : 1.25, spanGaps: false, points: { show: false },
        fill: filled ? `${colour(name)}22` : undefined, value: (_u, value) => show(value),
      }))],
      plugins: [hover(lines, show)],
    }, [[], ...lines.map(() => [])], box);
  }

  #resize(id) {
    const box = byId(id);
    if (this.#plots[id] && box.clientWidth) this.#plots[id].setSize({ width: box.clientWidth, height: box.clientHeight || 132 });
  }
}

const short = (ms) => (ms >= 1000 ? `${ms / 1000} s` : `${Number(ms.toFixed(1))} ms`);

// the values under the pointer, in a small box of text
function hover(lines, show) {
  const box = el("div", { class: "tip", hidden: true });
  return {
    hooks: {
      init: (plot) => plot.over.append(box),
      setCursor: (plot) => {
        const { idx, left } = plot.cursor;
        const time = idx === null || idx === undefined || left < 0 ? undefined : plot.data[0][idx];
        box.hidden = time === undefined;
        if (box.hidden) return;
        box.textContent = `${new Date(time * 1000).toISOString().slice(11, 19)}  ${lines.map(([, title], at) => `${title} ${show(plot.data[at + 1][idx])}`).join("  ")}`;
        box.classList.toggle("left", left > plot.over.clientWidth / 2);
      },
    },
  };
}
