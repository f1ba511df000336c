// The strip that shows the story: the chapter's title, its four captions with what really happened,
// the controls, and a summary at the end.
import { $, el, icon, setText } from "./dom.js";

const CAPTIONS = [
  { key: "injected", label: "Injected", icon: "gremlin" },
  { key: "customer_sees", label: "The customer sees", icon: "person" },
  { key: "platform_does", label: "The platform does", icon: "box" },
  { key: "proved", label: "Proved", icon: "unknown" },
];
const VERDICTS = {
  true: { tone: "good", icon: "good", text: "holds" },
  false: { tone: "bad", icon: "bad", text: "failed" },
  null: { tone: "neutral", icon: "unknown", text: "not judged" },
};
export const PACES = ["slow", "normal", "fast"];

export class StoryView {
  #section = $("story");
  #title = el("h2", { id: "story-title", tabindex: "-1" });
  #marks = el("ol", { class: "story-marks", "aria-hidden": "true" });
  #activity = el("p", { class: "story-activity muted" });
  #summary = el("p", { class: "story-summary", role: "status", hidden: true });
  #captions = Object.fromEntries(CAPTIONS.map((caption) => [caption.key, createCaption(caption)]));
  #checks = [];

  /** Takes a function for each button, and one for a change of the pace. */
  constructor({ onPause, onNext, onStop, onPace }) {
    const button = (id, text, click) => el("button", { id, type: "button", text, on: { click } });
    this.pauseButton = button("story-pause", "Pause", onPause);
    this.nextButton = button("story-next", "Next", onNext);
    this.stopButton = button("story-stop", "Stop", onStop);
    this.pace = el("select", { id: "story-pace", on: { change: () => onPace() } },
      ...PACES.map((pace) =>
        el("option", { value: pace, text: pace, selected: pace === "normal" })));
    this.#section.replaceChildren(
      el("div", { class: "heading" },
        this.#title,
        el("div", { class: "story-controls", role: "group", "aria-label": "Controls of the story" },
          el("label", { class: "inline-label" }, "Pace", this.pace),
          this.pauseButton,
          this.nextButton,
          this.stopButton)),
      this.#marks,
      el("div", { class: "story-captions", role: "status", "aria-atomic": "false" },
        ...CAPTIONS.map(({ key }) => this.#captions[key].node)),
      this.#activity,
      this.#summary);
  }

  open(chapters) {
    this.#section.hidden = false;
    this.#section.dataset.state = "playing";
    this.#summary.hidden = true;
    this.#activity.hidden = false;
    setText(this.stopButton, "Stop");
    this.pauseButton.hidden = false;
    this.nextButton.hidden = false;
    this.#marks.replaceChildren(...chapters.map(() => el("li")));
    for (const { key } of CAPTIONS) this.#clear(key, "");
  }

  close() {
    this.#section.hidden = true;
  }

  focusTitle() {
    this.#title.focus();
  }

  isFocused = () => this.#section.contains(document.activeElement);

  showTitle(text) {
    setText(this.#title, text);
  }

  showIntroduction(text) {
    this.showTitle("The story");
    this.#clear("injected", text);
  }

  beginChapter(index, chapters) {
    const chapter = chapters[index];
    this.#section.dataset.chapter = chapter.id;
    this.#checks = [];
    this.showTitle(`Chapter ${index + 1} of ${chapters.length}: ${chapter.title}`);
    for (const { key } of CAPTIONS) this.#clear(key, chapter[key]);
    this.#captions.proved.node.dataset.verdict = "playing";
    this.#showVerdict({ tone: "neutral", icon: "progress" }, "To be proved", "");
    this.#marks.children[index].dataset.state = "current";
  }

  #clear(key, text) {
    const { node, sentence, list } = this.#captions[key];
    setText(sentence, text);
    list.replaceChildren();
    list.removeAttribute("tabindex");
    node.hidden = text === "";
  }

  /** Shows whether the chapter proved its claim. */
  endChapter(index) {
    const failed = this.#checks.filter((passed) => passed === false).length;
    const isOpen = this.#checks.includes(null);
    const verdict = failed ? "failed" : isOpen ? "open" : "proved";
    this.#captions.proved.node.dataset.verdict = verdict;
    this.#marks.children[index].dataset.state = verdict;
    const held = this.#checks.filter(Boolean).length;
    const count = `${held} of ${this.#checks.length} checks hold`;
    const [style, label] = {
      proved: [VERDICTS.true, "Proved"],
      failed: [VERDICTS.false, "Not proved"],
      open: [VERDICTS.null, "Not judged"],
    }[verdict];
    this.#showVerdict(style, label, count);
    const { list } = this.#captions.proved;
    const first = list.querySelector("[data-passed=false]")
      ?? list.querySelector("[data-passed=null]") ?? list.firstElementChild;
    list.scrollTop = first ? first.offsetTop - list.offsetTop : 0;
  }

  #showVerdict({ tone, icon: name }, label, count) {
    const { node, label: labelNode, count: countNode } = this.#captions.proved;
    node.dataset.tone = tone;
    labelNode.replaceChildren(icon(name), label);
    setText(countNode, count);
  }

  showActivity(text) {
    setText(this.#activity, text);
  }

  showFault = (text) => this.#add("injected", el("li", { text }));

  showAnswer = (text) => this.#add("customer_sees", el("li", { text }));

  showEnd = (text) => this.#add("platform_does", el("li", { text }));

  showCheck(check, passed, found) {
    this.#checks.push(passed);
    const { tone, icon: name, text } = VERDICTS[passed];
    this.#add("proved", el("li", { class: tone, data: { check, passed: String(passed) } },
      icon(name),
      el("span", { class: "visually-hidden", text: `${text}: ` }),
      el("span", {}, el("b", { text: check }), `: ${found}`)));
  }

  #add(key, item) {
    const { list } = this.#captions[key];
    list.append(item);
    // A list that overflows must take the focus: without a mouse it cannot be scrolled otherwise.
    if (list.scrollHeight > list.clientHeight) list.tabIndex = 0;
    list.scrollTop = list.scrollHeight;
  }

  showPaused(isPaused) {
    this.#section.dataset.paused = String(isPaused);
    setText(this.pauseButton, isPaused ? "Continue" : "Pause");
  }

  /** Whether the story waits for a button. */
  showHeld(isHeld) {
    this.#section.dataset.held = String(isHeld);
  }

  showSummary(text, tone) {
    this.#section.dataset.state = "ended";
    this.#summary.hidden = false;
    this.#summary.dataset.tone = tone;
    this.#summary.replaceChildren(icon(tone), el("b", { text }));
    this.#activity.hidden = true;
    const hadFocus = this.isFocused();
    this.pauseButton.hidden = true;
    this.nextButton.hidden = true;
    setText(this.stopButton, "Close");
    if (hadFocus) this.stopButton.focus();
  }
}

function createCaption({ key, label, icon: name }) {
  const labelNode = el("h3", {}, icon(name), label);
  const sentence = el("p");
  const count = el("p", { class: "story-count" });
  const list = el("ul", { "aria-label": `${label}: what happened` });
  const node = el("div", { class: "story-caption", data: { caption: key } },
    labelNode, sentence, count, list);
  return { node, label: labelNode, sentence, count, list };
}
