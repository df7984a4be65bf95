// Figures as people read them. null is a dash everywhere.

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });

export const count = (value) => (value === null || value === undefined ? DASH : whole.format(value));

export const rate = (value) =>
  value === null || value === undefined ? DASH : value > 0 && value < 10 ? tenth.format(value) : whole.format(value);

// an id is text: JavaScript's numbers do not hold every one
export const id = (text) => (text === null || text === undefined ? DASH : text.replace(/\B(?=(\d{3})+$)/g, " "));

export function millis(value) {
  if (value === null || value === undefined) return DASH;
  const size = Math.abs(value);
  if (size < 1) return `${value.toFixed(2)} ms`;
  if (size < 10) return `${value.toFixed(1)} ms`;
  if (size < 1000) return `${Math.round(value)} ms`;
  return span(value);
}

export function span(ms) {
  if (ms === null || ms === undefined) return DASH;
  const s = Math.abs(ms) / 1000;
  if (s < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (s < 90) return `${Math.round(ms / 1000)} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  let size = value;
  for (const unit of ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]) {
    if (size < 999.5 || unit === "PiB") return `${unit === "bytes" || size >= 99.95 ? Math.round(size) : size.toFixed(1)} ${unit}`;
    size /= 1024;
  }
  return DASH;
}

export const clock = (ms) => (ms ? new Date(ms).toISOString().slice(11, 19) : DASH);
export const moment = (ms) => (ms ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : DASH);
export const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

// exchange text shown to a person: what would turn the direction of what follows is made visible
export const name = (text) =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
