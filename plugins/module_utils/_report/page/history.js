// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The fleet over time: how many hosts were in which states on each day, and how long vulnerabilities stayed open.

const MOST_CVES = 100;
const PICTURE = { height: 190, left: 44, right: 12, top: 8, bottom: 24 };
const HUNDRED = 100;

function statesOf({ states }) {
  return Object.entries(states).map(([state, hostsOf]) => `${number(hostsOf)} ${state}`).join(", ") || "no hosts";
}

// Of each day, how many hosts have each tone, stacked from the bottom: protected hosts stand on the ground.
function stacked(days) {
  return days.map(({ states }) => {
    const tones = Object.fromEntries(TONE_ORDER.map((tone) => [tone, 0]));
    for (const [state, hostsOf] of Object.entries(states)) tones[TONES[state]] += hostsOf;
    let below = 0;
    return TONE_ORDER.map((tone) => {
      const layer = { from: below, to: below + tones[tone] };
      below = layer.to;
      return layer;
    });
  });
}

// A round number that is not below the value, with few digits.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 2.5, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= value && Number.isInteger(step)) ?? value;
}

function picture(days, width) {
  const { height, left, right, top, bottom } = PICTURE;
  const layers = stacked(days);
  const most = ceiling(Math.max(1, ...layers.map((layer) => layer.at(-1).to)));
  const step = (width - left - right) / days.length;
  const x = (index) => left + index * step;
  const y = (value) => height - bottom - (value / most) * (height - top - bottom);
  const spoken = `Hosts by state, day by day. ${days[0].date}: ${statesOf(days[0])}. ${days.at(-1).date}: ${statesOf(days.at(-1))}.`;
  const svg = draw("svg", { role: "img", width, height, viewBox: `0 0 ${width} ${height}`, "aria-label": spoken });
  for (const value of most % 2 ? [0, most] : [0, most / 2, most]) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    svg.append(draw("text", { class: "axis", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, number(value)));
  }
  TONE_ORDER.forEach((tone, layer) => {
    if (!layers.some((day) => day[layer].to > day[layer].from)) return;
    const upper = layers.map((day, index) => `${x(index)},${y(day[layer].to)} ${x(index + 1)},${y(day[layer].to)}`);
    const lower = layers.map((day, index) => `${x(index + 1)},${y(day[layer].from)} ${x(index)},${y(day[layer].from)}`);
    svg.append(draw("polygon", { class: "bar", "data-tone": tone, points: [...upper, ...lower.reverse()].join(" ") }));
  });
  days.forEach((day, index) => {
    const shape = { class: "day", x: x(index), y: top, width: step, height: height - top - bottom };
    svg.append(draw("rect", shape, draw("title", {}, `${day.date}: ${statesOf(day)}`)));
  });
  const labels = Math.max(2, Math.min(days.length, Math.floor((width - left - right) / 110)));
  const shown = days.length === 1 ? [0] : [...Array(labels).keys()].map((each) => Math.round((each * (days.length - 1)) / (labels - 1)));
  for (const index of new Set(shown)) {
    const [middle, last] = [x(index + 0.5), index === days.length - 1];
    const anchor = days.length === 1 ? "middle" : index === 0 ? "start" : last ? "end" : "middle";
    const place = anchor === "start" ? left : anchor === "end" ? width - right : middle;
    svg.append(draw("text", { class: "axis", x: place, y: height - 6, "text-anchor": anchor }, days[index].date));
  }
  return svg;
}

function legend(days) {
  const present = new Map();
  for (const { states } of days) {
    for (const state of Object.keys(states)) {
      const tone = TONES[state];
      present.set(tone, (present.get(tone) ?? new Set()).add(state));
    }
  }
  const list = make("ul", "legend");
  for (const tone of TONE_ORDER.filter((each) => present.has(each))) {
    const item = make("li", "", make("span", "mark"), [...present.get(tone)].join(", "));
    item.dataset.tone = tone;
    list.append(item);
  }
  return list;
}

function grid(headings, rows) {
  const head = make("tr", "", ...headings.map((heading) => make("th", "", heading)));
  const body = rows.map((row) => make("tr", "", ...row.map((cell) => make("td", "", cell ?? "–"))));
  const table = make("table", "grid", make("thead", "", head), make("tbody", "", ...body));
  return make("div", "wide", table);
}

// What is folded is made when it is opened first.
function folded(title, content) {
  const element = make("details", "", make("summary", "", title));
  element.addEventListener("toggle", () => { if (element.children.length === 1) element.append(content()); });
  return element;
}

function days(value) {
  return value === null ? null : `${value.toLocaleString("en", { maximumFractionDigits: 1 })} ${value === 1 ? "day" : "days"}`;
}

function exposureFacts({ time_to_patch: patched, open_exposures: open, closed_before: before }) {
  const facts = make("dl", "facts");
  const fact = (name, value, note) => {
    facts.append(make("div", "", make("dt", "", name), make("dd", "", make("strong", "", value), make("span", "quiet", note))));
  };
  if (patched) {
    const share = Math.round(HUNDRED * 0.95);
    fact("Time to patch", days(patched.mean_days), `mean of ${count(patched.exposures, "closed exposure")}`);
    fact("95th percentile", days(patched.p95_days), `${share} of ${HUNDRED} were closed by then`);
  }
  if (open !== null) fact("Open now", number(open), "vulnerabilities, counted host by host");
  if (before) fact("Closed before", number(before), "when their hosts were first seen: not known since when");
  return facts;
}

function cveRow({ cve, published, hosts_open: open, hosts_closed: closed, mean_days: mean, p95_days: p95 }) {
  const link = make("a", "", cve);
  link.href = `#q=${encodeURIComponent(cve)}`;
  return [link, published.slice(0, 10), number(open), number(closed), days(mean), days(p95)];
}

function historyCard() {
  const { history } = fleet;
  const figure = make("figure", "card", make("figcaption", "", "Over time"));
  figure.append(exposureFacts(history));
  const place = make("div", "picture");
  figure.append(place, legend(history.days));
  new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (width > PICTURE.left + PICTURE.right) place.replaceChildren(picture(history.days, width));
  }).observe(place);
  if (history.cves.length) {
    const rest = history.cves.length - MOST_CVES;
    figure.append(
      folded(`Vulnerabilities: ${number(history.cves.length)}`, () => {
        const headings = ["Vulnerability", "Published", "Hosts open", "Hosts closed", "Mean", "95th percentile"];
        const table = grid(headings, history.cves.slice(0, MOST_CVES).map(cveRow));
        if (rest > 0) table.append(make("p", "quiet", `and ${number(rest)} older ones`));
        return table;
      }),
    );
  }
  figure.append(folded("Days as a table", () => grid(["Day", "Hosts"], history.days.map((day) => [day.date, statesOf(day)]).reverse())));
  return figure;
}

function showHistory() {
  if (fleet.history?.days.length) document.getElementById("history").append(historyCard());
}
