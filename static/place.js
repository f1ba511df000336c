// Placing orders: one, or a burst of them with a tally of the answers as they come.
import { call, Problem } from "./api.js";
import { $, count, duration, el, icon, many, reconcile, setText } from "./dom.js";
import { answerWords } from "./words.js";

/** Browsers keep six connections to a host: one is the stream's, and the figures need theirs while orders wait. */
const AT_ONCE = 3;
const TIMEOUT_MS = 10_000;
const ASK_AGAIN = 3;
const PAUSE_MS = 1000;
const MOST_CHIPS = 6;

let openOrder = () => {};
let stop = () => {};

export function startPlacing(open) {
  openOrder = open;
  const form = $("place");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { product_id: product, quantity, count: orders } = form.elements;
    const body = { product_id: product.value, quantity: Number(quantity.value) };
    const burst = Number(event.submitter?.value || orders.value);
    stop();
    burst === 1 ? placeOne(body) : placeMany(body, burst);
  });
  form.elements.count.addEventListener("input", ({ target }) => {
    setText($("place-order"), Number(target.value) > 1 ? `Order ${target.value} times` : "Order");
  });
  form.elements.product_id.addEventListener("input", markChip);
}

/** What there is to choose from, with what is left of it. */
export function showProducts(products) {
  const label = (product) => `${count(product.available)} available`;
  reconcile($("product-list"), products, (product) => product.product_id,
    (product) => el("option", { value: product.product_id }),
    (option, product) => option.label !== label(product) && (option.label = label(product)));
  reconcile($("product-chips"), products.slice(0, MOST_CHIPS), (product) => product.product_id, createChip, (chip, product) => {
    setText(chip.lastChild, count(product.available));
    chip.title = `${product.product_id}: ${label(product)}`;
  });
  markChip();
}

function createChip({ product_id: product }) {
  const choose = () => {
    $("place").elements.product_id.value = product;
    markChip();
  };
  return el("button", { class: "chip", type: "button", data: { product }, on: { click: choose } },
    el("span", { text: product }), el("b"));
}

function markChip() {
  const chosen = $("place").elements.product_id.value;
  for (const chip of $("product-chips").children) chip.setAttribute("aria-pressed", String(chip.dataset.product === chosen));
}

/** Code of an answer that cannot say whether the order was stored. */
const UNKNOWN = "outcome-unknown";

/** The key makes asking again safe: the platform answers with the same order, however often it is asked. */
async function submit(body, saying = () => {}) {
  const headers = { "idempotency-key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` };
  for (let asked = 1; ; asked++) {
    try {
      const { status, value } = await call("POST", "/orders", { body, headers, timeout: TIMEOUT_MS });
      return { code: String(status), text: value.message, orderId: value.id };
    } catch (error) {
      const isUndecided = ["idempotency-key-in-flight", UNKNOWN].includes(error.code);
      if ((error instanceof Problem && !isUndecided) || asked > ASK_AGAIN) return failed(error);
      saying(`No answer yet. Asking again with the same key (${asked} of ${ASK_AGAIN}) …`);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function failed(error) {
  if (!(error instanceof Problem) || error.code === UNKNOWN) return { code: "none", text: error.message, orderId: error.orderId };
  return { code: String(error.status), text: error.message, errors: error.errors, orderId: error.orderId };
}

async function placeOne(body) {
  const answer = $("answer");
  answer.dataset.tone = "run";
  answer.replaceChildren(el("p", { class: "placing", text: "Placing the order …" }));
  const started = performance.now();
  const result = await submit(body, (text) => answer.replaceChildren(el("p", { class: "placing", text })));
  const took = duration(performance.now() - started);
  const { tone, icon: name } = answerWords(result.code);
  answer.dataset.tone = tone;
  answer.dataset.code = result.code;
  answer.replaceChildren(
    el("p", { class: "answer-head" }, icon(name), el("b", { text: result.code === "none" ? "?" : result.code }), el("span", { text: `after ${took}` })),
    el("p", { text: result.text ?? "" }),
    ...(result.errors ?? []).map(({ field, detail }) => el("p", {}, el("b", { text: field }), ` ${detail}`)));
  if (result.orderId) {
    answer.append(el("button", { class: "link", type: "button", text: "What happened to it", on: { click: () => openOrder(result.orderId) } }));
  }
}

async function placeMany(body, orders) {
  const tally = new Map();
  const cells = Array.from({ length: orders }, () => el("i"));
  const head = el("p", { class: "answer-head" });
  const codes = el("ul", { class: "tally" });
  const halt = el("button", { class: "link", type: "button", text: "Stop", on: { click: () => stop() } });
  // Read out at its end only.
  const board = el("div", {}, head, el("div", { class: "cells", ariaHidden: "true" }, ...cells), codes, halt);
  const answer = $("answer");
  answer.dataset.tone = "run";
  delete answer.dataset.code;
  answer.setAttribute("aria-busy", "true");
  answer.replaceChildren(board);

  let next = 0;
  let answered = 0;
  stop = () => (next = orders);
  const started = performance.now();
  const show = (done) => {
    const took = duration(performance.now() - started);
    setText(head, done ? `${many(answered, "answer")} in ${took}` : `${answered} of ${orders} answered`);
    reconcile(codes, [...tally].sort(), ([code]) => code, createCode, (node, [, n]) => setText(node.querySelector("b"), count(n)));
  };
  const buyer = async () => {
    while (next < orders) {
      const cell = cells[next++];
      cell.className = "asked";
      const { code } = await submit(body);
      cell.className = answerWords(code).tone;
      tally.set(code, (tally.get(code) ?? 0) + 1);
      answered++;
      if (answer.contains(board)) show(false);
    }
  };
  show(false);
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, orders) }, buyer));
  if (!answer.contains(board)) return;
  answer.removeAttribute("aria-busy");
  halt.remove();
  show(true);
}

function createCode([code]) {
  const { tone, icon: name, word } = answerWords(code);
  return el("li", { class: tone, data: { code } }, icon(name), el("b"), el("span", { text: code === "none" ? word : `${code} ${word}` }));
}
