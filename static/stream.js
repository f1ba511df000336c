// Live changes of orders. The browser resumes a broken stream by itself; one that it gave up is opened anew from where
// it ended.
import { $, clock, setText } from "./dom.js";

const AGAIN_MS = 1500;
const SAY_RESUMED_MS = 8000;

export class Stream {
  #source;
  #timer;
  #lastId = null;
  #interrupted = false;
  #onChange;
  #onReset;

  constructor(onChange, onReset) {
    this.#onChange = onChange;
    this.#onReset = onReset;
  }

  open() {
    this.close();
    const resume = this.#lastId === null ? "" : `?last_event_id=${encodeURIComponent(this.#lastId)}`;
    const source = new EventSource(`/orders/stream${resume}`);
    this.#source = source;
    source.addEventListener("open", () => this.#opened());
    source.addEventListener("order", (event) => {
      this.#lastId = event.lastEventId || this.#lastId;
      this.#onChange(JSON.parse(event.data));
    });
    source.addEventListener("reset", (event) => {
      this.#lastId = event.lastEventId || null;
      this.#onReset();
    });
    source.addEventListener("error", () => this.#broken());
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
  }

  /** A stream may look alive when the service behind it is not. */
  doubt() {
    if ($("live").dataset.state === "live") this.#broken();
  }

  #opened() {
    // Without an id there is nothing to resume from: what changed before is to be fetched.
    if (this.#lastId === null) this.#onReset();
    if (!this.#interrupted) return say("live", "live");
    this.#interrupted = false;
    say("live", `live again, resumed at ${clock(Date.now())}`);
    this.#timer = setTimeout(() => say("live", "live"), SAY_RESUMED_MS);
  }

  #broken() {
    clearTimeout(this.#timer);
    this.#interrupted = true;
    if (this.#source?.readyState === EventSource.CONNECTING) return say("waiting", "not live, connecting again");
    say("down", "not live, trying again");
    this.#timer = setTimeout(() => this.open(), AGAIN_MS);
  }
}

function say(state, text) {
  $("live").dataset.state = state;
  setText($("live"), text);
}
