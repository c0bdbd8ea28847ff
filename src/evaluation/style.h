#pragma once
#include <string_view>

namespace syncdr::evaluation {

/// The page's whole style sheet: light and dark by the reader's preference, one column on a phone, light on paper.
inline constexpr std::string_view page_style = R"css(
:root {
  color-scheme: light dark;
  --page: #fcfcfa; --raised: #f4f4f0; --text: #1d1f23; --muted: #62666f; --rule: #dcdcd5; --accent: #1f5fae;
  --right: #1a7f4b; --wrong-frame: #e3b9a6; --on-mark: #fff;
  --s0: #1f5fae; --s1: #c2570c; --s2: #1a7f4b; --s3: #8e4aa8; --s4: #7a6a00; --s5: #b0305c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #17181b; --raised: #202226; --text: #e7e7e3; --muted: #a0a4ac; --rule: #36393f; --accent: #82b4f2;
    --right: #3fbf83; --wrong-frame: #8a5a45; --on-mark: #17181b;
    --s0: #82b4f2; --s1: #f2a15f; --s2: #63c795; --s3: #cf9be6; --s4: #d6c455; --s5: #f08fb0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 66rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
footer { padding-top: 1rem; padding-bottom: 3rem; color: var(--muted); font-size: .875rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { margin: 3rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); font-size: 1.3rem; }
h3 { margin: 2rem 0 .5rem; font-size: 1.02rem; }
p { max-width: 46rem; margin: .5rem 0 1rem; }
.subtitle { margin: .35rem 0 0; color: var(--muted); }
.finding { margin-top: 1.25rem; font-size: 1.12rem; }
.whole { white-space: nowrap; }
.muted, .note { color: var(--muted); }
.note { font-size: .875rem; }
figure { margin: 0; }
figcaption { color: var(--muted); font-size: .875rem; }
img { display: block; max-width: 100%; height: auto; border-radius: 3px; background: #fff; }

.results { margin: 1rem 0; }
.results figcaption { max-width: 46rem; margin-top: .6rem; }
/* The shade at the right edge says that there is more to scroll to; the page-coloured layer moves with the table and covers it at the end. */
.scroll { overflow-x: auto; background: linear-gradient(var(--page), var(--page)) right / 1.5rem 100% no-repeat local,
  linear-gradient(to left, var(--rule), transparent) right / 1.5rem 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .5rem; text-align: right; vertical-align: top; white-space: nowrap; }
th[scope=row] { min-width: 9.5rem; padding-left: 0; font-weight: 400; text-align: left; white-space: normal; }
thead th { border-bottom: 1px solid var(--rule); color: var(--muted); font-size: .875rem; font-weight: 500; }
thead th:first-child { text-align: left; padding-left: 0; }
thead th[scope=colgroup] { border-bottom: 0; color: var(--text); text-align: left; padding-left: 1.1rem; }
th[scope=rowgroup] { padding-top: .9rem; padding-left: 0; text-align: left; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
.first { padding-left: 1.1rem; }
td small { display: block; color: var(--muted); font-size: .75rem; }
td.best, td.certain { font-weight: 700; }
td.best small, td.certain small { font-weight: 400; }
td.best > span { border-bottom: 2px solid var(--accent); }
tr.main th[scope=row] { font-weight: 600; }
.tag { display: block; color: var(--muted); font-size: .75rem; font-weight: 400; }

svg.plot { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--muted); font-size: 12px; font-family: inherit; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .axis { stroke: var(--muted); stroke-width: 1; }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.line.s0 { stroke: var(--s0); } .line.s1 { stroke: var(--s1); stroke-dasharray: 6 3; } .line.s2 { stroke: var(--s2); stroke-dasharray: 2 3; }
.line.s3 { stroke: var(--s3); stroke-dasharray: 9 3 2 3; } .line.s4 { stroke: var(--s4); stroke-dasharray: 4 4; } .line.s5 { stroke: var(--s5); stroke-dasharray: 12 4; }
.dots, .crosses { fill: none; stroke-linecap: round; opacity: .8; }
.dots { stroke-width: 5; } .crosses { stroke-width: 1.4; }
.dots.s0, .crosses.s0 { stroke: var(--s0); } .dots.s1, .crosses.s1 { stroke: var(--s1); } .dots.s2, .crosses.s2 { stroke: var(--s2); }
.dots.s3, .crosses.s3 { stroke: var(--s3); } .dots.s4, .crosses.s4 { stroke: var(--s4); } .dots.s5, .crosses.s5 { stroke: var(--s5); }
svg.map { border: 1px solid var(--rule); border-radius: 5px; }
.mark.s0 { fill: var(--s0); } .mark.s1 { fill: var(--s1); } .mark.s2 { fill: var(--s2); } .mark.s3 { fill: var(--s3); } .mark.s4 { fill: var(--s4); } .mark.s5 { fill: var(--s5); }
.whisker path { fill: none; stroke: var(--muted); stroke-width: 1.6; }
.whisker circle { fill: var(--muted); stroke: var(--muted); stroke-width: 1.6; }
.whisker .name { fill: var(--text); font-size: 13px; paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; }
.whisker .value { fill: var(--muted); }
.whisker.strong path, .whisker.strong circle { stroke: var(--accent); fill: var(--accent); }
.whisker.strong path { fill: none; stroke-width: 2.2; }
.whisker.strong .name { font-weight: 600; }
.whisker.hollow circle { fill: var(--page); }
.overview { max-width: 33rem; margin: 1.5rem 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem 2rem; }
.chart figcaption { margin-bottom: .35rem; color: var(--text); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .3rem 0 0; padding: 0; list-style: none; color: var(--muted); font-size: .8125rem; }
.legend svg { margin-right: .4rem; vertical-align: middle; }

nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1.25rem 0 0; padding: 0; list-style: none; font-size: .9375rem; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
caption { padding: .3rem 0; color: var(--muted); font-size: .875rem; text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.list { width: auto; min-width: min(100%, 20rem); font-size: .875rem; }
.list th[scope=row] { min-width: 7rem; overflow-wrap: anywhere; }
.list th, .list td { text-align: left; }
.columns { display: flex; flex-wrap: wrap; gap: 1rem 3rem; align-items: flex-start; }
.matrix { width: auto; margin-bottom: 1.5rem; font-size: .8125rem; }
.matrix thead th { vertical-align: bottom; font-size: .75rem; }
.matrix thead th:not(:first-child) { padding: .3rem .1rem; } .matrix thead th:not(:first-child) span { writing-mode: vertical-rl; transform: rotate(180deg); }
.matrix td { min-width: 2.1rem; padding: .35rem .3rem; border: 1px solid var(--page); text-align: center; vertical-align: middle; background: var(--raised); }
.matrix td.wrong { background: color-mix(in srgb, var(--s1) var(--share), var(--raised)); }
.matrix td.right { background: color-mix(in srgb, var(--right) var(--share), var(--raised)); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; max-width: 52rem; margin: 1rem 0; font-size: .9375rem; }
.facts dt { color: var(--muted); } .facts dd { margin: 0; overflow-wrap: anywhere; }
mark { padding: .1em .25em; border-radius: 3px; background: color-mix(in srgb, var(--accent) 22%, transparent); color: inherit; }
.pairs small { grid-column: 1 / -1; color: var(--muted); font-size: .75rem; text-align: center; }

.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .7rem 1rem; margin: .4rem 0 1.5rem; padding: 0; list-style: none; }
.pairs li { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.pairs img, .query img { width: 100%; border: 1px solid var(--rule); }

.query { display: grid; grid-template-columns: 6rem 1fr; gap: 1.25rem; padding: .9rem 0; border-top: 1px solid var(--rule); break-inside: avoid; }
.query figcaption { text-align: center; }
.by { margin: .2rem 0 .25rem; color: var(--muted); font-size: .8125rem; line-height: 1.2; }
.nearest + .by { margin-top: .7rem; }
.nearest { display: grid; grid-template-columns: repeat(8, minmax(0, 6.4rem)); gap: .4rem; margin: 0; padding: 0; list-style: none; }
.nearest li { position: relative; }
.query .nearest img { border: 2px solid var(--wrong-frame); }
.query .nearest .right img { border: 3px solid var(--right); }
.nearest b { position: absolute; right: 0; bottom: 0; width: 1.2rem; border-radius: 3px 0 3px 0; font-size: .75rem; line-height: 1.15rem; text-align: center; }
.nearest b, .key { background: var(--wrong-frame); color: var(--text); }
.nearest .right b, .key.right { background: var(--right); color: var(--on-mark); }
.key { display: inline-block; width: 1.25rem; border-radius: 3px; font-size: .8125rem; font-weight: 700; line-height: 1.25rem; text-align: center; }

details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
details figure { margin-top: .75rem; }
details figure > figcaption:first-child { margin-bottom: .4rem; color: var(--text); font-weight: 600; }
pre { overflow-x: auto; margin: .75rem 0; padding: .9rem 1rem; border-radius: 5px; background: var(--raised); font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font: .875em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }

@media (max-width: 40rem) {
  header { padding-top: 1.5rem; }
  h1 { font-size: 1.5rem; }
  .query { grid-template-columns: 1fr; gap: .5rem; }
  .query > figure { display: flex; align-items: center; gap: .6rem; }
  .query > figure img { width: 5rem; }
  .nearest { grid-template-columns: repeat(4, 1fr); }
  .pairs { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem; }
  th[scope=row] { position: sticky; left: 0; z-index: 1; min-width: 8rem; background: var(--page); }
}
@media print {
  :root { color-scheme: light; --page: #fff; --raised: #f4f4f0; --text: #000; --muted: #555; --rule: #ccc; --accent: #1f5fae; --right: #1a7f4b; --wrong-frame: #e3b9a6; --on-mark: #fff;
    --s0: #1f5fae; --s1: #c2570c; --s2: #1a7f4b; --s3: #8e4aa8; --s4: #7a6a00; --s5: #b0305c; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 10pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .chart, .pairs li, tr { break-inside: avoid; }
  .scroll { overflow: visible; background: none; }
  th, td { padding: .3rem .25rem; }
}
)css";

}  // namespace syncdr::evaluation
