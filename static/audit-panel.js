// The consistency check: the audit's result, the stock balance of each product, and the invariants.
import { get } from "./api.js";
import { deliveryForm } from "./delivery.js";
import { $, el, icon, reconcile, setText } from "./dom.js";
import { formatCount, formatNumber, formatTime } from "./format.js";
import { invariantName, markViolationsUnchecked, showViolations } from "./violations.js";

/** The time of the last check that finished; null before it. */
let checkedAt = null;

/** `onDelivery` is called after a delivery that was made in this panel. */
export async function refreshAudit(onDelivery) {
  let audit;
  try {
    audit = await get("/audit");
  } catch (error) {
    showUnchecked(error);
    throw error;
  }
  show(audit, onDelivery);
  return audit;
}

/** After a failed check, the panel must not say that the stock is balanced. */
function showUnchecked({ message }) {
  $("audit").dataset.clean = "unknown";
  setText($("audit-result"), "could not be checked");
  $("audit-unchecked").hidden = false;
  const age = checkedAt ? ` The figures below are of ${formatTime(checkedAt)}.` : "";
  setText($("audit-unchecked"), `${message}${age}`);
  markViolationsUnchecked();
}

function show(audit, onDelivery) {
  const { clean: isClean, invariants, products, orders, holds_without_order: orphans } = audit;
  checkedAt = audit.at;
  $("audit").dataset.clean = String(isClean);
  setText($("audit-result"), isClean ? "balanced" : "violated");
  $("audit-unchecked").hidden = true;
  const isViolated = ({ violations }) => violations > 0;
  showViolations(invariants.filter(isViolated), checkedAt);
  foldInvariants(invariants.length, invariants.filter(isViolated).length);
  showOrderCounts(orders);
  reconcile($("orphan-reservations"), orphans ?? [], (orphan) => orphan.order_id,
    () => el("li"), updateOrphan);
  reconcile($("product-balances"), products, (product) => product.product_id,
    (product) => withDelivery(createProduct(product), product, onDelivery),
    (node, product) => {
      updateProduct(node, product);
      showSoldOut(node, product);
    });
  makeScrollableByKeyboard($("product-balances"));
  const violatedFirst = [...invariants].sort((a, b) => isViolated(b) - isViolated(a));
  reconcile($("invariants"), violatedFirst, (invariant) => invariant.name,
    createInvariant, updateInvariant);
}

/** The list opens by itself when an invariant is violated, and closes when all hold again. */
function foldInvariants(total, violated) {
  const fold = $("invariants-part");
  const isViolated = violated > 0;
  setText($("invariants-summary"), isViolated
    ? `${formatNumber(violated)} of ${formatCount(total, "invariant")} violated`
    : `${formatNumber(total)} of ${formatCount(total, "invariant")} hold`);
  if (fold.dataset.violated !== String(isViolated)) fold.open = isViolated;
  fold.dataset.violated = String(isViolated);
}

/** A list that overflows must take the focus: without a mouse it cannot be scrolled otherwise. */
function makeScrollableByKeyboard(list) {
  list.tabIndex = list.scrollHeight > list.clientHeight ? 0 : -1;
}

function showOrderCounts(orders) {
  const { total, confirmed, failed, unsettled, reservations_without_order: orphans } = orders;
  const counts = [
    ["orders", total],
    ["confirmed", confirmed],
    ["failed", failed],
    ["unsettled", unsettled],
  ];
  if (orphans > 0) counts.push(["held, no order", orphans]);
  reconcile($("order-counts"), counts, ([name]) => name,
    ([name]) => el("div", {}, el("dt", { text: name }), el("dd")),
    (node, [, n]) => {
      node.dataset.some = String(n > 0);
      setText(node.lastChild, formatNumber(n));
    });
}

function updateOrphan(node, { order_id: order, product_id: product, quantity }) {
  setText(node, `${formatNumber(quantity)} of ${product} held for the unknown order ${order}`);
}

function createProduct({ product_id: product }) {
  return el("li", { class: "product-balance", data: { product } },
    el("p", { class: "product-name", text: product, title: product }),
    el("p", { class: "equation" },
      el("b"),
      el("span"),
      el("span", { class: "available" }),
      " + ",
      el("span", { class: "held" }),
      " + ",
      el("span", { class: "shipped" })),
    el("div", { class: "balance-bar", ariaHidden: "true" },
      el("span", { class: "available" }),
      el("span", { class: "held" }),
      el("span", { class: "shipped" })));
}

function updateProduct(node, { stocked, available, reserved, shipped, held }) {
  const isBalanced = stocked === available + held + shipped && reserved === held
    && available >= 0 && shipped >= 0;
  node.dataset.balanced = String(isBalanced);
  const [, equation, bar] = node.children;
  const [stockedNode, signNode, availableNode, heldNode, shippedNode] = equation.children;
  setText(stockedNode, formatNumber(stocked));
  setText(signNode, isBalanced ? " = " : " ≠ ");
  setText(availableNode, formatNumber(available));
  setText(heldNode, formatNumber(held));
  setText(shippedNode, formatNumber(shipped));
  equation.title =
    `${stocked} stocked, ${available} available, ${held} held, ${shipped} shipped`;
  [available, held, shipped].forEach((quantity, i) => {
    bar.children[i].style.flexGrow = Math.max(0, quantity);
    bar.children[i].hidden = quantity <= 0;
  });
}

function withDelivery(node, { product_id: product }, onDelivery) {
  const form = deliveryForm(product, onDelivery);
  form.lastChild.before(el("b", { class: "sold-out", text: "sold out", hidden: true }));
  node.append(form);
  return node;
}

function showSoldOut(node, { available }) {
  const isSoldOut = available <= 0;
  node.dataset.soldOut = String(isSoldOut);
  node.querySelector(".sold-out").hidden = !isSoldOut;
}

function createInvariant({ name, meaning }) {
  return el("li", { data: { name } },
    el("span", { class: "state-icon" }),
    el("b", { text: invariantName(name) }),
    el("p", { class: "invariant-count" }),
    el("small", { text: meaning }),
    el("p", { class: "examples" }));
}

function updateInvariant(node, { checked, violations, examples }) {
  const isOk = violations === 0;
  const [stateIcon, , countNode, , examplesNode] = node.children;
  if (node.dataset.ok !== String(isOk)) {
    node.dataset.ok = String(isOk);
    stateIcon.replaceChildren(
      icon(isOk ? "good" : "bad"),
      el("span", { class: "visually-hidden", text: isOk ? "holds" : "is violated" }));
  }
  const checkedText = formatNumber(checked);
  setText(countNode, isOk
    ? `${checkedText} checked`
    : `${formatNumber(violations)} of ${checkedText} violated`);
  setText(examplesNode, examples.join(", "));
}
