// The page of the gateway: which part is open, and the API key.
import { $, askKey, hasKey, setKey } from "./api.js";
import * as compare from "./compare.js";
import * as evaluate from "./evaluate.js";
import * as map from "./map.js";
import * as publish from "./publish.js";
import * as search from "./search.js";

const pages = { search, compare, map, evaluate, publish };

// route opens the part that the address names: #/compare?a=…&b=….
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const name = Object.hasOwn(pages, path) ? path : "search";
  for (const other of Object.keys(pages)) $("page-" + other).hidden = other !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#/" + name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = name === "search" ? "videosim" : `videosim · ${name}`;
  scrollTo(0, 0);
  pages[name].open(new URLSearchParams(query));
}

function useKey(key) {
  setKey(key);
  $("key").value = "";
  $("key-dialog").close();
  route();
}

$("key-button").addEventListener("click", () => askKey());
$("key-form").addEventListener("submit", (e) => { e.preventDefault(); useKey($("key").value.trim()); });
$("key-forget").addEventListener("click", () => useKey(""));
$("key-cancel").addEventListener("click", () => $("key-dialog").close());
$("skip").addEventListener("click", (e) => { // its address would name a part of the page
  e.preventDefault();
  $("main").focus();
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) || document.querySelector("dialog[open]")) return;
  e.preventDefault();
  if ($("page-search").hidden) {
    history.pushState(null, "", "#/search");
    route();
  }
  $("q").focus();
});
for (const page of Object.values(pages)) page.start();
$("status").textContent = "";
if (hasKey()) setKey(sessionStorage.getItem("videosim-key"));
addEventListener("hashchange", route);
route();
