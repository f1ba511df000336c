// Plays the story: runs its chapters one after the other, pausable and step by step, and leaves
// time to read. `?story` in the address plays at once, `?story=fast` without pauses.
import { askForToken, get, gremlinGet, SERVICES } from "./api.js";
import { $, setText } from "./dom.js";
import { formatCount } from "./format.js";
import { refreshGremlin } from "./gremlin.js";
import { StoryActions } from "./story-actions.js";
import { StoryClient, Stopped } from "./story-client.js";
import { PACES, StoryView } from "./story-view.js";

const BUTTON_TEXT = "Play the story";
/** By pace: the characters that a viewer reads in a second. */
const READING_SPEEDS = { slow: 11, normal: 18, fast: Infinity };
const MIN_READING_MS = 1500;

let view;
/** The story that is played; null before and after it. */
let playback = null;

export function startStory() {
  view = new StoryView({
    onPause: () => playback?.togglePause(),
    onNext: () => playback?.next(),
    onStop: stopOrClose,
    onPace: () => playback?.wake(),
  });
  $("play-story").addEventListener("click", () => play({ takesFocus: true }));
  // The page is left or reloaded: no fault of the story may stay behind.
  window.addEventListener("pagehide", () => playback?.abandon());
  showWhetherPlayable();
  const pace = new URLSearchParams(location.search).get("story");
  if (pace === null) return;
  if (PACES.includes(pace)) view.pace.value = pace;
  play();
}

/** Says on the button why the story cannot be played. */
async function showWhetherPlayable() {
  const refusal = await gremlinRefusal();
  const button = $("play-story");
  button.disabled = refusal === 404;
  if (refusal === 404) setText(button, "No story: the gremlin is disabled");
  else if (refusal === 401) setText(button, `${BUTTON_TEXT} (needs the gremlin's token)`);
  else setText(button, BUTTON_TEXT);
  return refusal;
}

/** The status with which the gremlin refuses this page: 404, it is disabled; 401, it is locked. */
async function gremlinRefusal() {
  try {
    await gremlinGet("/gremlin/latency");
    return null;
  } catch ({ status }) {
    return [401, 404].includes(status) ? status : null;
  }
}

async function play({ takesFocus = false } = {}) {
  if (playback) return;
  const refusal = await showWhetherPlayable();
  if (refusal === 404 || (refusal === 401 && !(await askForToken("gremlin"))) || playback) return;
  playback = new Playback(takesFocus);
  $("play-story").disabled = true;
  try {
    await playback.run();
  } finally {
    playback = null;
    showWhetherPlayable();
  }
}

function stopOrClose() {
  if (playback) playback.stop();
  else {
    view.close();
    $("play-story").focus();
  }
}

class Playback {
  #controller = new AbortController();
  #client = new StoryClient(this.#controller.signal);
  #isPaused = false;
  #isNextWanted = false;
  #wake = () => {};
  #checks = { all: 0, failed: 0, open: 0 };
  #takesFocus;

  /** `takesFocus`: the viewer pressed the button, so the focus moves to the story. */
  constructor(takesFocus) {
    this.#takesFocus = takesFocus;
  }

  async run() {
    let where = "before its first chapter";
    try {
      view.open([]);
      view.showPaused(false);
      const { introduction, min_stock: minStock, chapters } = await get("/story.json");
      view.open(chapters);
      view.showIntroduction(introduction);
      if (this.#takesFocus) view.focusTitle();
      view.showActivity("Ending the faults that are active …");
      await this.#client.prepare(minStock, SERVICES);
      refreshGremlin();
      await this.#rest(introduction);
      const actions = new StoryActions(this.#client, this.#report());
      for (const index of chapters.keys()) {
        where = `in chapter ${index + 1}`;
        await this.#playChapter(index, chapters, actions);
      }
      this.#showSummary(chapters.length, actions.counts);
    } catch (error) {
      await this.#showEarlyEnd(error, where);
    }
  }

  async #playChapter(index, chapters, actions) {
    const chapter = chapters[index];
    view.beginChapter(index, chapters);
    if (!this.#isPaused) await this.#rest(chapter.injected);
    for (const action of chapter.actions) await actions.carryOut(action);
    view.endChapter(index);
    const isLast = index === chapters.length - 1;
    view.showActivity("");
    if (isLast) return;
    await this.#rest(chapter.customer_sees + chapter.platform_does + chapter.proved, true);
  }

  /** The report of the actions: the view, and the number of checks. */
  #report() {
    return {
      showActivity: (text) => view.showActivity(text),
      showFault: (text) => {
        view.showFault(text);
        refreshGremlin();
      },
      showAnswer: (text) => view.showAnswer(text),
      showEnd: (text) => view.showEnd(text),
      showCheck: (check, passed, found) => {
        this.#checks.all += passed !== null;
        this.#checks.failed += passed === false;
        this.#checks.open += passed === null;
        view.showCheck(check, passed, found);
      },
    };
  }

  /**
   * Leaves time to read a text. After a chapter, waits as long as the story is paused. The Next
   * button ends the wait.
   */
  async #rest(text, isAfterChapter = false) {
    const startedAt = performance.now();
    while (!this.#isNextWanted) {
      this.#client.throwIfStopped();
      const isHeld = this.#isPaused && isAfterChapter;
      const readingMs = readingTime(text) - (performance.now() - startedAt);
      if (!isHeld && readingMs <= 0) break;
      view.showActivity(isHeld ? "Paused. Next plays one chapter, Continue plays on." : "");
      view.showHeld(isHeld);
      await this.#sleep(isHeld ? null : readingMs);
    }
    this.#isNextWanted = false;
    view.showHeld(false);
    this.#client.throwIfStopped();
  }

  /** Sleeps until a button is pressed, or for a time. */
  async #sleep(ms) {
    let timer;
    await new Promise((resolve) => {
      this.#wake = resolve;
      if (ms !== null) timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  wake() {
    this.#wake();
  }

  togglePause() {
    this.#isPaused = !this.#isPaused;
    view.showPaused(this.#isPaused);
    if (this.#isPaused) view.showActivity("The story pauses after this chapter.");
    this.wake();
  }

  next() {
    this.#isNextWanted = true;
    this.wake();
  }

  stop() {
    view.showActivity("Ending the faults …");
    this.#controller.abort();
    this.wake();
  }

  /** Ends the faults when the page is left, with calls that outlive it. */
  abandon() {
    this.#controller.abort();
    this.#client.endFaults({ keepalive: true }).catch(() => {});
    this.wake();
  }

  #showSummary(chapters, { taken, finished, lost, chargedTwice }) {
    const { all, failed, open } = this.#checks;
    const checks = failed ? `${failed} of ${all} checks failed` : `${all} checks hold`;
    const notJudged = open ? ` (${open} could not be judged)` : "";
    const text = `${formatCount(chapters, "chapter")}, ${checks}${notJudged}: `
      + `${formatCount(taken, "order")} taken, ${finished} finished, ${lost} lost, `
      + `${chargedTwice} charged twice`;
    view.showTitle("The story has ended");
    view.showSummary(text, failed || lost || chargedTwice ? "bad" : "good");
  }

  /** The story was stopped, or could not go on. No fault of it may stay. */
  async #showEarlyEnd(error, where) {
    let ended = "Its faults have ended.";
    try {
      await this.#client.endFaults();
    } catch {
      ended = "Its faults could not be ended: use Stop all faults.";
    }
    refreshGremlin();
    view.showTitle("The story was not played to its end");
    if (error instanceof Stopped) view.showSummary(`Stopped ${where}. ${ended}`, "warning");
    else view.showSummary(`The story ended ${where}: ${error.message} ${ended}`, "bad");
  }
}

const readingTime = (text) => {
  const speed = READING_SPEEDS[view.pace.value];
  return Number.isFinite(speed) ? Math.max(MIN_READING_MS, (text.length / speed) * 1000) : 0;
};
