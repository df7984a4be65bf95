// The stream of events: one connection that comes back, whatever happened to either end of it.
//
// The server says something every two seconds at least. Silence therefore means that the connection is dead even when
// the browser has not noticed (a laptop that slept, a cable that was pulled), and another is made.

const SILENCE_MS = 7000;
const WAITS_MS = [500, 1000, 2000, 4000];

export class Feed {
  #source = null;
  #recorder = null;
  #heard = 0;
  #failures = 0;
  #timer = null;

  // hear(kind, message); tell(connected, since): since is when anything was heard last
  constructor(hear, tell) {
    this.hear = hear;
    this.tell = tell;
    setInterval(() => this.#watch(), 1000);
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.#watch());
    document.addEventListener("visibilitychange", () => this.#watch());
  }

  // recorder null: whichever the server thinks best
  open(recorder) {
    this.#recorder = recorder;
    this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#source?.close();
    const query = this.#recorder === null ? "" : `?recorder=${encodeURIComponent(this.#recorder)}`;
    const source = new EventSource(`/events${query}`);
    this.#source = source;
    this.#heard = Date.now();
    for (const kind of ["state", "tick"]) {
      source.addEventListener(kind, (event) => {
        if (source !== this.#source) return;
        this.#heard = Date.now();
        this.#failures = 0;
        this.tell(true, this.#heard);
        this.hear(kind, JSON.parse(event.data));
      });
    }
    source.addEventListener("error", () => {
      if (source !== this.#source) return;
      this.tell(false, this.#heard);
      // otherwise the browser tries again by itself, and goes on where it was
      if (source.readyState === EventSource.CLOSED) this.#again();
    });
  }

  #again() {
    if (this.#timer !== null) return;
    const wait = WAITS_MS[Math.min(this.#failures++, WAITS_MS.length - 1)];
    this.#timer = setTimeout(() => this.#connect(), wait);
  }

  #watch() {
    if (this.#source && this.#timer === null && Date.now() - this.#heard > SILENCE_MS) {
      this.tell(false, this.#heard);
      this.#connect();
    }
  }
}
