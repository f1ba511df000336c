// The light or dark theme: the system's, until the user chooses one.
import { $, setText } from "./dom.js";

const THEME_KEY = "theme";
const systemPrefersDark = matchMedia("(prefers-color-scheme: dark)");

const currentTheme = () =>
  localStorage.getItem(THEME_KEY) ?? (systemPrefersDark.matches ? "dark" : "light");

const otherTheme = () => (currentTheme() === "dark" ? "light" : "dark");

function applyTheme() {
  document.documentElement.style.colorScheme = currentTheme();
  setText($("theme-toggle"), otherTheme() === "light" ? "Light theme" : "Dark theme");
}

export function startTheme() {
  applyTheme();
  systemPrefersDark.addEventListener("change", applyTheme);
  $("theme-toggle").addEventListener("click", () => {
    localStorage.setItem(THEME_KEY, otherTheme());
    applyTheme();
  });
}
