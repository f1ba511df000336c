// The live stream of order changes. The browser resumes an interrupted stream by itself; a stream
// that it gives up is opened again after the last event received.
import { $, setText } from "./dom.js";
import { formatTime } from "./format.js";

const REOPEN_INTERVAL_MS = 1500;
const RESUMED_MESSAGE_MS = 8000;

export class Stream {
  #source;
  #timer;
  #lastEventId = null;
  #wasInterrupted = false;
  #onChange;
  #onReset;
  #onBreak;

  /**
   * `onReset` is called when changes may have been missed, so that everything must be loaded, and
   * `onBreak` when the stream is interrupted.
   */
  constructor(onChange, onReset, onBreak) {
    this.#onChange = onChange;
    this.#onReset = onReset;
    this.#onBreak = onBreak;
  }

  open() {
    this.close();
    const query = this.#lastEventId === null
      ? ""
      : `?last_event_id=${encodeURIComponent(this.#lastEventId)}`;
    const source = new EventSource(`/orders/stream${query}`);
    this.#source = source;
    source.addEventListener("open", () => this.#onOpen());
    source.addEventListener("order", (event) => {
      this.#lastEventId = event.lastEventId || this.#lastEventId;
      this.#onChange(JSON.parse(event.data));
    });
    source.addEventListener("reset", (event) => {
      this.#lastEventId = event.lastEventId || null;
      this.#onReset();
    });
    source.addEventListener("error", () => this.#onInterruption());
  }

  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
  }

  /** For a service that does not respond although its stream still looks open. */
  markInterrupted() {
    if ($("stream-status").dataset.state === "live") this.#onInterruption();
  }

  #onOpen() {
    // Without an event id the stream cannot resume, so earlier changes must be loaded.
    if (this.#lastEventId === null) this.#onReset();
    if (!this.#wasInterrupted) return showStatus("live", "live");
    this.#wasInterrupted = false;
    showStatus("live", `live, resumed at ${formatTime(Date.now())}`);
    this.#timer = setTimeout(() => showStatus("live", "live"), RESUMED_MESSAGE_MS);
  }

  #onInterruption() {
    clearTimeout(this.#timer);
    this.#wasInterrupted = true;
    this.#onBreak();
    if (this.#source?.readyState === EventSource.CONNECTING) {
      return showStatus("connecting", "not live, reconnecting");
    }
    showStatus("disconnected", "not live, retrying");
    this.#timer = setTimeout(() => this.open(), REOPEN_INTERVAL_MS);
  }
}

function showStatus(state, text) {
  $("stream-status").dataset.state = state;
  setText($("stream-status"), text);
}
