// The projector view, at `/?present`: the panels that tell the story fill one screen, in large
// type.
import { $, setText } from "./dom.js";

export function startPresent() {
  if (!new URLSearchParams(location.search).has("present")) return;
  document.documentElement.dataset.present = "true";
  $("present-link").href = "/";
  setText($("present-link"), "Normal view");
}
