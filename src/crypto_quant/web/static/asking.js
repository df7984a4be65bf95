// Questions to the database, by way of the server: asked again and again while the page is looked at.

// an answer, or { error, hint } in the server's own words; null when nothing answers
export async function ask(path, query = {}) {
  try {
    const reply = await fetch(`/api/${path}?${new URLSearchParams(query)}`, { signal: AbortSignal.timeout(30000) });
    const body = await reply.json();
    return reply.ok ? body : { error: body.error ?? reply.statusText, hint: body.hint ?? "", subject: body.subject ?? "" };
  } catch {
    return null;
  }
}

// calls `look` every `every_ms` (or after as many as it returns), one at a time and never for a page that nobody sees;
// `now()` hurries it
export function repeatedly(look, every_ms) {
  let timer = null;
  let busy = false;
  let again = false;
  async function turn() {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    let wait = every_ms;
    if (!document.hidden) {
      busy = true;
      try {
        wait = (await look()) ?? every_ms;
      } finally {
        busy = false;
      }
    }
    timer = setTimeout(turn, again ? 0 : wait);
    again = false;
  }
  document.addEventListener("visibilitychange", () => document.hidden || turn());
  turn();
  return { now: turn };
}
