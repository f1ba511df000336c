// Light or dark as the system has it, until somebody chooses.
import { $, setText } from "./dom.js";

const KEY = "theme";
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => localStorage.getItem(KEY) ?? (systemIsDark.matches ? "dark" : "light");

function show() {
  const theme = chosen();
  document.documentElement.style.colorScheme = theme;
  setText($("theme"), theme === "dark" ? "Light theme" : "Dark theme");
}

export function startTheme() {
  show();
  systemIsDark.addEventListener("change", show);
  $("theme").addEventListener("click", () => {
    localStorage.setItem(KEY, chosen() === "dark" ? "light" : "dark");
    show();
  });
}
