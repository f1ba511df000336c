// The conservation check: what was stocked is there or held, and the audit's invariants.
import { get } from "./api.js";
import { $, count, el, icon, reconcile, setText } from "./dom.js";

export async function refreshBooks() {
  const audit = await get("/audit");
  const { clean, invariants, products, orders } = audit;
  $("books").dataset.clean = String(clean);
  setText($("books-word"), clean ? "balance" : "do not balance");
  showOrders(orders);
  reconcile($("holds"), audit.holds_without_order ?? [], (hold) => hold.order_id, () => el("li"), updateHold);
  reconcile($("products"), products, (product) => product.product_id, createProduct, updateProduct);
  // Who has no mouse must reach what is out of sight.
  $("products").tabIndex = $("products").scrollHeight > $("products").clientHeight ? 0 : -1;
  reconcile($("invariants"), invariants, (invariant) => invariant.name, createInvariant, updateInvariant);
  return audit;
}

function showOrders({ total, confirmed, failed, unsettled, reservations_without_order: byHand }) {
  const figures = [["orders", total], ["confirmed", confirmed], ["failed", failed], ["unsettled", unsettled]];
  if (byHand > 0) figures.push(["held by hand", byHand]);
  reconcile($("order-counts"), figures, ([name]) => name,
    ([name]) => el("div", {}, el("dt", { text: name }), el("dd")),
    (node, [, figure]) => setText(node.lastChild, count(figure)));
}

function updateHold(node, { order_id: order, product_id: product, quantity }) {
  setText(node, `${count(quantity)} of ${product} held for ${order}, an order that does not exist`);
}

function createProduct({ product_id: product }) {
  return el("li", { class: "product-balance", data: { product } },
    el("p", { class: "product-name", text: product, title: product }),
    el("p", { class: "equation" }, el("b"), el("span", { class: "equals" }), el("span", { class: "available" }), " + ", el("span", { class: "held" })),
    el("div", { class: "balance", ariaHidden: "true" }, el("span", { class: "available" }), el("span", { class: "held" })));
}

function updateProduct(node, { stocked, available, reserved, held }) {
  const balances = stocked === available + held && reserved === held && available >= 0;
  node.dataset.balances = String(balances);
  const [, equation, bar] = node.children;
  const [sum, sign, left, right] = equation.children;
  setText(sum, count(stocked));
  setText(sign, balances ? " = " : " ≠ ");
  setText(left, count(available));
  setText(right, count(held));
  equation.title = `${stocked} stocked, ${available} available, ${held} held`;
  [available, held].forEach((amount, i) => {
    bar.children[i].style.flexGrow = Math.max(0, amount);
    bar.children[i].hidden = amount <= 0;
  });
}

function createInvariant({ name, meaning }) {
  return el("li", { data: { name } },
    el("span", { class: "mark" }),
    el("b", { text: name.replaceAll("-", " ") }),
    el("p", { class: "figure" }),
    el("small", { text: meaning }),
    el("p", { class: "examples" }));
}

function updateInvariant(node, { checked, violations, examples }) {
  const ok = violations === 0;
  const [mark, , figure, , list] = node.children;
  if (node.dataset.ok !== String(ok)) {
    node.dataset.ok = String(ok);
    mark.replaceChildren(icon(ok ? "good" : "bad"), el("span", { class: "unseen", text: ok ? "holds" : "is violated" }));
  }
  setText(figure, ok ? `${count(checked)} checked` : `${count(violations)} of ${count(checked)} wrong`);
  setText(list, examples.join(", "));
}
