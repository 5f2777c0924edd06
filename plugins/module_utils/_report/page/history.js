// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The history of the fleet: hosts by state on each day, and how long CVEs stayed open.

const MAX_CVES = 100;
const CHART_HEIGHT = 190; // pixels, as all sizes here
const MARGIN = { left: 44, right: 12, top: 8, bottom: 24 };
const DATE_LABEL_WIDTH = 110;

function showHistory() {
  const { history: fleetHistory } = report;
  if (!fleetHistory || fleetHistory.days.length === 0) return;
  const { days } = fleetHistory;
  const picture = createElement("div", "picture");
  drawToFit(picture, (width) => drawHistory(days, Math.max(width, MARGIN.left + MARGIN.right + 1)));
  const card = createElement("figure", "card", createElement("figcaption", "", "History"));
  card.append(exposureFigures(fleetHistory), picture, toneLegend(days));
  if (fleetHistory.cves.length > 0) {
    card.append(expandable(`CVEs: ${formatNumber(fleetHistory.cves.length)}`, () => cveTable(fleetHistory.cves)));
  }
  card.append(expandable("Hosts by day", () => dayTable(days)));
  const { vulnerabilities } = fleetHistory;
  if (vulnerabilities) {
    card.append(expandable("Open vulnerabilities by day", () => openCveTable(vulnerabilities)));
    card.append(expandable("Time to close vulnerabilities", () => timeToCloseTable(vulnerabilities)));
  }
  elementById("history", HTMLElement).append(card);
}

/** @param {FleetHistory} fleetHistory */
function exposureFigures(fleetHistory) {
  const { time_to_patch: timeToPatch, open_exposures: open, closed_before: fixedBefore } = fleetHistory;
  const list = createElement("dl", "figures");
  if (timeToPatch) {
    const { exposures, mean_days: mean, p95_days: percentile } = timeToPatch;
    list.append(figureItem("Mean time to patch", formatDays(mean), `of ${formatCount(exposures, "closed exposure")}`));
    list.append(figureItem("95th percentile", formatDays(percentile), "95% were closed within this time"));
  }
  if (open !== null) list.append(figureItem("Open exposures", formatNumber(open), "each CVE counted once per host"));
  if (fixedBefore) {
    list.append(figureItem("Closed before first record", formatNumber(fixedBefore), "time to patch unknown"));
  }
  return list;
}

/** @param {string} name @param {string} value @param {string} note */
function figureItem(name, value, note) {
  const description = createElement("dd", "", createElement("strong", "", value), createElement("span", "muted", note));
  return createElement("div", "", createElement("dt", "", name), description);
}

/** @param {number} value */
function formatDays(value) {
  return `${value.toLocaleString("en", { maximumFractionDigits: 1 })} ${value === 1 ? "day" : "days"}`;
}

/** @param {HistoryDay} day */
function describeDay({ states }) {
  const counts = Object.entries(states).map(([state, count]) => `${formatNumber(count)} ${stateName(/** @type {State} */ (state)).toLowerCase()}`);
  return counts.join(", ") || "no hosts";
}

/** @param {HistoryDay[]} days @param {number} width */
function drawHistory(days, width) {
  const layers = stackTones(days);
  const maximum = axisMaximum(Math.max(...layers.map((day) => day.at(-1)?.to ?? 0)));
  const plotHeight = CHART_HEIGHT - MARGIN.top - MARGIN.bottom;
  const dayWidth = (width - MARGIN.left - MARGIN.right) / days.length;
  /** @param {number} day */
  const x = (day) => MARGIN.left + day * dayWidth;
  /** @param {number} value */
  const y = (value) => MARGIN.top + plotHeight * (1 - value / maximum);
  const size = { width, height: CHART_HEIGHT, viewBox: `0 0 ${width} ${CHART_HEIGHT}` };
  const picture = createSvg("svg", { role: "img", ...size, "aria-label": describeHistory(days) });
  picture.append(...drawGrid(maximum, width, y));
  TONE_ORDER.forEach((tone, index) => {
    const layer = layers.flatMap((day) => day[index] ?? []);
    if (layer.some(({ from, to }) => to > from)) picture.append(drawLayer(tone, layer, x, y));
  });
  days.forEach((day, index) => {
    const title = createSvg("title", {}, `${day.date}: ${describeDay(day)}`);
    const place = { x: x(index), y: MARGIN.top, width: dayWidth, height: plotHeight };
    picture.append(createSvg("rect", { class: "day", ...place }, title));
  });
  picture.append(...drawDates(days, width, x));
  return picture;
}

/** @param {HistoryDay[]} days */
function describeHistory(days) {
  const ends = days.length > 1 ? [days[0], days.at(-1)] : days;
  const descriptions = ends.map((day) => (day ? ` ${day.date}: ${describeDay(day)}.` : ""));
  return `Hosts by state and day.${descriptions.join("")}`;
}

/** @typedef {{from: number, to: number}} Layer The hosts of one tone on one day, above those of the tones before it. */

/**
 * Stack the hosts of each day by tone, in the order of the tones.
 * @param {HistoryDay[]} days
 * @returns {Layer[][]}
 */
function stackTones(days) {
  return days.map(({ states }) => {
    let from = 0;
    return TONE_ORDER.map((tone) => {
      const ofTone = Object.entries(states).filter(([state]) => stateTone(/** @type {State} */ (state)) === tone);
      const to = ofTone.reduce((sum, [, count]) => sum + count, from);
      const layer = { from, to };
      from = to;
      return layer;
    });
  });
}

/**
 * Return a round number that is not below the value.
 * @param {number} value
 */
function axisMaximum(value) {
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  const candidates = [1, 2, 2.5, 4, 5, 8, 10].map((factor) => factor * magnitude);
  return candidates.find((candidate) => candidate >= value && Number.isInteger(candidate)) ?? value;
}

/** @param {number} maximum @param {number} width @param {(value: number) => number} y */
function drawGrid(maximum, width, y) {
  const values = maximum % 2 === 0 ? [0, maximum / 2, maximum] : [0, maximum];
  return values.flatMap((value) => [
    createSvg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
    createSvg("text", { class: "axis", x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, formatNumber(value)),
  ]);
}

/**
 * Draw the area of a tone: its upper edge from left to right, then its lower edge back.
 * @param {Tone} tone
 * @param {Layer[]} layer One for each day.
 * @param {(day: number) => number} x
 * @param {(value: number) => number} y
 */
function drawLayer(tone, layer, x, y) {
  const upper = layer.flatMap(({ to }, day) => [`${x(day)},${y(to)}`, `${x(day + 1)},${y(to)}`]);
  const lower = layer.flatMap(({ from }, day) => [`${x(day)},${y(from)}`, `${x(day + 1)},${y(from)}`]);
  return createSvg("polygon", { class: "bar", "data-tone": tone, points: [...upper, ...lower.reverse()].join(" ") });
}

/** @param {HistoryDay[]} days @param {number} width @param {(day: number) => number} x */
function drawDates(days, width, x) {
  const last = days.length - 1;
  const fitting = Math.floor((width - MARGIN.left - MARGIN.right) / DATE_LABEL_WIDTH);
  const gaps = Math.max(1, Math.min(last, fitting - 1));
  const shown = new Set(Array.from({ length: gaps + 1 }, (_, label) => Math.round((label * last) / gaps)));
  return [...shown].map((day) => {
    let place = { x: x(day + 0.5), "text-anchor": "middle" };
    if (day === 0 && last > 0) place = { x: MARGIN.left, "text-anchor": "start" };
    if (day === last && last > 0) place = { x: width - MARGIN.right, "text-anchor": "end" };
    return createSvg("text", { class: "axis", ...place, y: CHART_HEIGHT - 6 }, days[day]?.date ?? "");
  });
}

/** @param {HistoryDay[]} days */
function toneLegend(days) {
  const states = new Set(days.flatMap((day) => /** @type {State[]} */ (Object.keys(day.states))));
  const statesByTone = Map.groupBy(states, stateTone);
  const list = createElement("ul", "legend");
  for (const tone of TONE_ORDER) {
    const statesOfTone = statesByTone.get(tone);
    if (!statesOfTone) continue;
    const item = createElement("li", "", createElement("span", "mark"), statesOfTone.map(stateName).join(", "));
    item.dataset.tone = tone;
    list.append(item);
  }
  return list;
}

/**
 * Create a block that the reader can expand. Its content is created when it is first expanded.
 * @param {string} title
 * @param {() => Node} createContent
 */
function expandable(title, createContent) {
  const block = createElement("details", "", createElement("summary", "", title));
  block.addEventListener("toggle", () => block.append(createContent()), { once: true });
  return block;
}

/** @param {HistoryCve[]} cves */
function cveTable(cves) {
  const rows = cves
    .slice(0, MAX_CVES)
    .map((each) => [
      createSearchLink(each.cve, each.cve),
      each.published.slice(0, 10),
      formatNumber(each.hosts_open),
      formatNumber(each.hosts_closed),
      each.mean_days === null ? "–" : formatDays(each.mean_days),
      each.p95_days === null ? "–" : formatDays(each.p95_days),
    ]);
  const table = createTable(["CVE", "Published", "Hosts open", "Hosts closed", "Mean", "95th percentile"], rows);
  const others = cves.length - MAX_CVES;
  if (others > 0) table.append(createElement("p", "muted", `and ${formatNumber(others)} older CVEs`));
  return table;
}

/** @param {HistoryDay[]} days */
function dayTable(days) {
  const rows = days.map((day) => [day.date, describeDay(day)]);
  return createTable(["Day", "Hosts"], rows.reverse());
}

/** @param {CveHistory} cveHistory */
function openCveTable({ days }) {
  const priorities = [...new Set(days.flatMap(({ open }) => Object.keys(open)))];
  const rows = days.map(({ date, open }) => [date, ...priorities.map((priority) => formatNumber(open[priority] ?? 0))]);
  return createTable(["Day", ...priorities], rows.reverse());
}

/** @param {CveHistory} cveHistory */
function timeToCloseTable({ time_to_close: timeToClose }) {
  const rows = Object.entries(timeToClose).map(([priority, { open, closed, mean_days: mean }]) => [
    priority,
    formatNumber(open),
    formatNumber(closed),
    mean === null ? "–" : formatDays(mean),
  ]);
  return createTable(["Priority", "Open", "Closed", "Mean"], rows);
}

/** @param {string[]} headings @param {(Node | string)[][]} rows */
function createTable(headings, rows) {
  const head = createElement("tr", "", ...headings.map((heading) => createElement("th", "", heading)));
  const body = rows.map((row) => createElement("tr", "", ...row.map((cell) => createElement("td", "", cell))));
  const table = createElement("table", "", createElement("thead", "", head), createElement("tbody", "", ...body));
  const holder = createElement("div", "scrollable", table);
  // The keyboard must reach a table that is wider than the page.
  holder.tabIndex = 0;
  holder.role = "region";
  holder.ariaLabel = headings.join(", ");
  return holder;
}
