// The product field of the order form: a combobox with a list of the products and their stock. The
// keyboard works as in the combobox pattern of WAI-ARIA. A product that is not in the list can be
// typed, too.
import { $, el, reconcile, setText } from "./dom.js";
import { formatNumber } from "./format.js";

let products = [];
/** The products that the open list shows. */
let offered = [];
/** The position in `offered` of the option that Enter chooses; -1 for none. */
let active = -1;
let isUntouched = true;

const field = () => $("product");
const list = () => $("product-list");
const isOpen = () => !list().hidden;
const isSoldOut = ({ available }) => available <= 0;
const stockText = (product) =>
  (isSoldOut(product) ? "sold out" : `${formatNumber(product.available)} available`);

export function startProductChooser() {
  field().addEventListener("input", () => {
    isUntouched = false;
    open(matching(field().value));
    showStock();
  });
  field().addEventListener("keydown", onKey);
  field().addEventListener("click", () => open(products));
  field().addEventListener("blur", close);
  // The field keeps the focus: a press in the list or on the button would take it away.
  for (const node of [list(), $("product-toggle")]) {
    node.addEventListener("pointerdown", (event) => event.preventDefault());
    node.addEventListener("mousedown", (event) => event.preventDefault());
  }
  $("product-toggle").addEventListener("click", () => {
    field().focus();
    if (isOpen()) close();
    else open(products);
  });
  list().addEventListener("click", ({ target }) => {
    const option = target.closest("[role=option]");
    if (option) choose(option.dataset.product);
  });
}

/** Takes the products and their stock. At first, the first product in stock is chosen. */
export function showProducts(newProducts) {
  products = newProducts;
  const first = products.find((product) => !isSoldOut(product));
  if (isUntouched && first) {
    field().value = first.product_id;
    isUntouched = false;
  }
  if (isOpen()) {
    offered = offered.map((old) =>
      products.find((product) => product.product_id === old.product_id) ?? old);
    showOptions();
  }
  showStock();
}

/** The stock of the product in the field. */
function showStock() {
  const product = products.find(({ product_id: id }) => id === field().value);
  setText($("product-stock"), product ? stockText(product) : "");
  $("product-stock").dataset.soldOut = String(Boolean(product && isSoldOut(product)));
}

/** Nothing is offered for a complete name, so that the list covers no button then. */
function matching(text) {
  const searched = text.trim().toLowerCase();
  if (products.some(({ product_id: id }) => id === text)) return [];
  return products.filter(({ product_id: id }) => id.toLowerCase().includes(searched));
}

function open(newlyOffered) {
  offered = newlyOffered;
  active = -1;
  if (offered.length === 0) return close();
  list().hidden = false;
  field().setAttribute("aria-expanded", "true");
  activate(offered.findIndex(({ product_id: id }) => id === field().value));
}

function close() {
  list().hidden = true;
  active = -1;
  field().setAttribute("aria-expanded", "false");
  field().removeAttribute("aria-activedescendant");
}

function choose(product) {
  field().value = product;
  isUntouched = false;
  close();
  showStock();
}

function onKey(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    event.preventDefault();
    if (isOpen()) activate(nextPosition(step));
    else open(products);
  } else if (event.key === "Enter" && isOpen()) {
    // Without a chosen option, Enter places the order.
    if (active < 0) return close();
    event.preventDefault();
    choose(offered[active].product_id);
  } else if (event.key === "Escape" && isOpen()) {
    event.preventDefault();
    close();
  }
}

/** After the last option comes the first one. */
function nextPosition(step) {
  if (active < 0) return step > 0 ? 0 : offered.length - 1;
  return (active + step + offered.length) % offered.length;
}

function activate(position) {
  active = position;
  showOptions();
  const option = list().children[active];
  if (!option) return field().removeAttribute("aria-activedescendant");
  field().setAttribute("aria-activedescendant", option.id);
  option.scrollIntoView({ block: "nearest" });
}

function showOptions() {
  reconcile(list(), offered, ({ product_id: id }) => id, createOption, updateOption);
  [...list().children].forEach((option, i) => {
    option.id = `product-option-${i}`;
    option.setAttribute("aria-selected", String(i === active));
  });
}

function createOption({ product_id: product }) {
  return el("li", { role: "option", data: { product } },
    el("span", { class: "product-name", text: product, title: product }),
    el("span", { class: "product-stock" }));
}

function updateOption(option, product) {
  option.dataset.soldOut = String(isSoldOut(product));
  setText(option.lastChild, stockText(product));
}
