// Light or dark: as the viewer's system says, until the viewer chose.

import { $, label } from "./dom.js";

const KEY = "gorgond-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const changes = new EventTarget();

let chosen = localStorage.getItem(KEY);

/** Call `redraw` whenever the colours are others. */
export function onTheme(redraw) {
  changes.addEventListener("change", redraw);
}

function apply() {
  const dark = chosen ? chosen === "dark" : system.matches;
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  const button = $("theme");
  button.ariaLabel = dark ? "Light colours" : "Dark colours";
  button.title = button.ariaLabel;
  label(button, dark ? "light" : "dark", button.ariaLabel);
  changes.dispatchEvent(new Event("change"));
}

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.style.colorScheme === "dark";
  chosen = dark ? "light" : "dark";
  localStorage.setItem(KEY, chosen);
  apply();
});
system.addEventListener("change", apply);
apply();
