// The title of the tab: the worst that the page knows.
const NAME = "Valerix";

let isTooSlow = false;

export function setTooSlow(value) {
  isTooSlow = value;
  show();
}

function show() {
  document.title = isTooSlow ? `▲ ${NAME}: too slow` : NAME;
}
