#pragma once
#include <string_view>

/// The pages: what `syncdr serve` answers with, and the style that a sheet has too. Nothing is loaded from outside.
namespace syncdr::search {

/// Light and dark by the reader's preference, one column on a phone.
inline constexpr std::string_view page_style = R"css(
:root {
  color-scheme: light dark;
  --page: #fcfcfa; --raised: #f2f2ed; --text: #1d1f23; --muted: #5d616a; --rule: #d6d6cf; --accent: #1f5fae; --on-accent: #fff; --wrong: #a3341b;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #17181b; --raised: #212328; --text: #e7e7e3; --muted: #a4a8b0; --rule: #3a3d44; --accent: #82b4f2; --on-accent: #10151c; --wrong: #f2937b; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
header, main { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.75rem; }
main { padding-bottom: 3rem; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: 1.05rem; overflow-wrap: anywhere; }
.subtitle { margin: .35rem 0 0; color: var(--muted); overflow-wrap: anywhere; }
img { display: block; border-radius: 4px; background: #fff; }
.found { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1.1rem .9rem; margin: 1rem 0; padding: 0; list-style: none; }
.found li { min-width: 0; }
.found img { width: 100%; aspect-ratio: 1; object-fit: contain; border: 1px solid var(--rule); }
.found p { display: flex; justify-content: space-between; gap: .5rem; margin: .35rem 0 0; font-variant-numeric: tabular-nums; }
.found b { overflow: hidden; font-weight: 600; text-overflow: ellipsis; white-space: nowrap; }
.found small { display: block; color: var(--muted); font-size: .8125rem; line-height: 1.35; overflow-wrap: anywhere; }
.query { width: 11rem; max-height: 11rem; object-fit: contain; border: 2px solid var(--accent); }
@media (max-width: 40rem) {
  header { padding-top: 1.1rem; }
  .found { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print { li { break-inside: avoid; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
)css";

inline constexpr std::string_view form_style = R"css(
form { display: grid; grid-template-columns: minmax(0, 24rem) 1fr; gap: 1.25rem; align-items: start; margin-top: 1.25rem; }
.drop { display: grid; place-items: center; gap: .75rem; position: relative; min-height: 12.5rem; padding: 1rem; border: 2px dashed var(--muted); border-radius: 8px;
  background: var(--raised); text-align: center; cursor: pointer; }
.drop.over { border-color: var(--accent); border-style: solid; }
.drop:focus-within { outline: 3px solid var(--accent); outline-offset: 2px; }
.drop input { position: absolute; inset: 0; width: 100%; opacity: 0; cursor: pointer; }
.drop img { max-width: 100%; max-height: 9.5rem; }
.drop span { max-width: 100%; overflow-wrap: anywhere; }
.drop u { color: var(--accent); text-underline-offset: .15em; }
.options { display: grid; gap: .9rem; justify-items: start; }
.options span { white-space: nowrap; }
.options > div { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; }
select, input[type=search], button { min-height: 2.75rem; padding: 0 .75rem; border: 1px solid var(--muted); border-radius: 6px; background: var(--page); color: inherit; font: inherit; }
input[type=search] { width: min(24rem, 100%); }
button { border-color: var(--accent); background: var(--accent); color: var(--on-accent); cursor: pointer; }
select:focus-visible, input:focus-visible, button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
#status { min-height: 1.5em; margin: 1.25rem 0 0; color: var(--muted); }
#status.wrong { color: var(--wrong); }
.found[aria-busy=true] { opacity: .45; }
.found a { display: block; border-radius: 4px; }
.found a:hover img { border-color: var(--accent); }
[hidden] { display: none !important; }
@media (max-width: 40rem) {
  form { grid-template-columns: minmax(0, 1fr); }
  .drop { min-height: 9rem; }
}
)css";

inline constexpr std::string_view page_html = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>syncdr: search by picture</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<header>
<h1>Search by picture</h1>
<p class="subtitle" id="about"></p>
</header>
<main>
<form id="form">
<label class="drop" id="drop">
<input type="file" id="file" accept="image/jpeg,image/png,image/webp,image/tiff">
<img id="picture" alt="your query" hidden>
<span id="hint">Drop a sketch or a photo here, paste one, or <u>choose a file</u></span>
</label>
<div class="options">
<div>
<span><label for="domain">Search in</label> <select id="domain"><option value="">all domains</option></select></span>
<span><label for="k">show</label> <select id="k"><option>10</option><option>20</option><option>50</option><option>100</option></select></span>
</div>
<div id="words" hidden>
<label for="text">or in words</label>
<input type="search" id="text" placeholder="a dog" maxlength="300" autocomplete="off">
<button>Search</button>
</div>
</div>
</form>
<p id="status" role="status"></p>
<ol class="found" id="found"></ol>
<noscript><p>This page needs JavaScript. <code>syncdr search</code> does the same in a terminal.</p></noscript>
</main>
</body>
</html>
)html";

inline constexpr std::string_view page_script = R"js("use strict";
const part = id => document.getElementById(id);
const given = new URLSearchParams(location.search);
let query = null;  // {body: a picture} or {text: words}
let turn = 0, limit = Infinity;

function say(text, wrong = false) {
  part("status").textContent = text;
  part("status").classList.toggle("wrong", wrong);
}

/// Where the picture of a match is, and the page that searches with it.
const address = match => new URLSearchParams({domain: match.domain, split: match.split, row: match.row});
function linkTo(match) {
  const params = new URLSearchParams({like: `${match.domain}/${match.split}/${match.row}`, k: part("k").value});
  if (part("domain").value) params.set("in", part("domain").value);
  return "?" + params;
}

function make(kind, text = "", properties = {}) {
  const element = Object.assign(document.createElement(kind), properties);
  if (text) element.textContent = text;
  return element;
}

function item(match) {
  const link = make("a", "", {href: linkTo(match), title: "Search with this picture"});
  link.append(make("img", "", {src: "/image?" + address(match), alt: `${match.rank}: ${match.name}`, loading: "lazy"}));
  const line = make("p");
  line.append(make("b", match.category_name || match.domain), make("span", match.score.toFixed(3)));
  const element = make("li");
  element.append(link, line, make("small", match.name));
  return element;
}

async function search() {
  if (!query) return;
  const mine = ++turn, params = new URLSearchParams({k: part("k").value});
  if (part("domain").value) params.set("domain", part("domain").value);
  if ("text" in query) params.set("text", query.text);
  say("Searching …");
  part("found").setAttribute("aria-busy", "true");
  let matches = [];
  try {
    const response = await fetch("/search?" + params, {method: "POST", body: query.body ?? ""});
    const answer = await response.json();
    if (mine !== turn) return;
    if (!response.ok) throw new Error(answer.error);
    matches = answer.matches;
    say(`${matches.length} nearest of ${answer.rows.toLocaleString("en")} images, in ${answer.milliseconds} ms. Choose one to search with it.`);
  } catch (error) {
    if (mine !== turn) return;
    say(error instanceof TypeError ? "The server does not answer. Is `syncdr serve` still running?" : error.message, true);
  }
  part("found").replaceChildren(...matches.map(item));
  part("found").removeAttribute("aria-busy");
}

function take(picture, name) {
  if (picture.size > limit) {
    say(`${name} has ${(picture.size / 2 ** 20).toFixed(1)} MiB, at most ${limit / 2 ** 20} are taken`, true);
    return;
  }
  query = {body: picture};
  URL.revokeObjectURL(part("picture").src);
  part("picture").src = URL.createObjectURL(picture);
  part("picture").hidden = false;
  part("hint").textContent = `${name} (drop, paste or choose another)`;
  part("text").value = "";
  search();
}

part("picture").addEventListener("error", () => part("picture").hidden = true);  // TIFF: browsers do not show it
part("file").addEventListener("change", () => {
  const [file] = part("file").files;
  if (file) take(file, file.name);
  part("file").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"])
  addEventListener(kind, event => {
    event.preventDefault();
    part("drop").classList.toggle("over", kind === "dragover");
    const [file] = kind === "drop" ? event.dataTransfer.files : [];
    if (file) take(file, file.name);
  });
addEventListener("paste", event => {
  const [file] = event.clipboardData.files;
  if (file) take(file, "pasted picture");
});
part("form").addEventListener("submit", event => {
  event.preventDefault();
  const text = part("text").value.trim();
  if (!text) return;
  query = {text};
  part("picture").hidden = true;
  part("hint").textContent = `“${text}”`;
  search();
});
for (const id of ["domain", "k"]) part(id).addEventListener("change", search);

(async () => {
  const about = await (await fetch("/about")).json();
  part("about").textContent = `${about.rows.toLocaleString("en")} images, by ${about.model}`;
  for (const domain of about.domains) part("domain").append(make("option", domain, {value: domain}));
  part("words").hidden = !about.text;
  limit = about.limit;
  if (about.domains.includes(given.get("in"))) part("domain").value = given.get("in");
  if (["10", "20", "50", "100"].includes(given.get("k"))) part("k").value = given.get("k");
  if (!given.has("like")) return;
  const [row, split, ...domain] = given.get("like").split("/").reverse();
  const response = await fetch("/image?" + new URLSearchParams({domain: domain.reverse().join("/"), split, row}));
  if (response.ok) take(await response.blob(), `${given.get("like")} of the gallery`);
  else say((await response.json()).error, true);
})();
)js";

}  // namespace syncdr::search
