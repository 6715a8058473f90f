// The page of the gateway: which part is open, and the API key.
import { $ } from "./api.js";
import * as compare from "./compare.js";
import * as evaluate from "./evaluate.js";
import * as map from "./map.js";
import * as publish from "./publish.js";
import * as search from "./search.js";

const pages = { search, compare, map, evaluate, publish };

// route opens the part that the address names: #/compare?a=…&b=….
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const name = path in pages ? path : "search";
  for (const other of Object.keys(pages)) $("page-" + other).hidden = other !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#/" + name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = name === "search" ? "videosim" : `videosim · ${name}`;
  pages[name].open(new URLSearchParams(query));
}

$("key-button").addEventListener("click", () => $("key-dialog").showModal());
$("key-form").addEventListener("submit", (e) => {
  e.preventDefault();
  sessionStorage.setItem("videosim-key", $("key").value);
  $("key").value = "";
  $("key-dialog").close();
  route();
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) return;
  e.preventDefault();
  location.hash = "#/search";
  $("q").focus();
});
for (const page of Object.values(pages)) page.start();
$("status").textContent = "ready";
addEventListener("hashchange", route);
route();
