// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Bar charts of kernels and patch versions. Each bar is split by the tones of its hosts' states.

const MAX_BARS = 7;
const COUNT_WIDTH = 52; // pixels, as all sizes here
const CHARACTER_WIDTH = 7.3;

function showCharts() {
  if (!hosts.some((host) => host.record)) return;
  elementById("charts", HTMLElement).append(
    barChart("Kernels", "kernel", (host) => host.kernelName, "unknown", "kernels"),
    barChart("Patch versions", "patch", (host) => host.patchVersion, "no patch", "versions"),
  );
}

/**
 * @param {string} title
 * @param {string} field Of the search that shows the hosts of a bar.
 * @param {(host: Host) => string | null} valueOf
 * @param {string} noValueLabel
 * @param {string} plural
 */
function barChart(title, field, valueOf, noValueLabel, plural) {
  const groups = groupHosts(field, valueOf, noValueLabel, plural);
  const picture = createElement("div", "");
  drawToFit(picture, (width) => drawBarChart(title, groups, width));
  return createElement("figure", "card", createElement("figcaption", "", title), picture);
}

/**
 * Group hosts by a value: the most frequent values, and one group for all others.
 * @param {string} field
 * @param {(host: Host) => string | null} valueOf
 * @param {string} noValueLabel
 * @param {string} plural
 * @returns {HostGroup[]}
 */
function groupHosts(field, valueOf, noValueLabel, plural) {
  const recorded = hosts.filter((host) => host.record);
  const found = [...Map.groupBy(recorded, valueOf)].sort(
    ([one, oneHosts], [other, otherHosts]) =>
      otherHosts.length - oneHosts.length || compareTexts(one ?? "", other ?? ""),
  );
  // A bar for "1 other" would take the place of the bar that it stands for.
  const shown = found.length <= MAX_BARS + 1 ? found.length : MAX_BARS;
  const groups = found
    .slice(0, shown)
    .map(([value, members]) => createGroup(value ?? noValueLabel, searchFor(field, value), members));
  const rest = found.slice(shown);
  if (rest.length > 0) {
    const members = rest.flatMap(([, each]) => each);
    groups.push(createGroup(`${formatNumber(rest.length)} other ${plural}`, null, members));
  }
  return groups;
}

/**
 * @param {string} label
 * @param {string | null} query
 * @param {Host[]} members
 * @returns {HostGroup}
 */
function createGroup(label, query, members) {
  return { label, query, hosts: members.length, tones: countValues(members.map(({ state }) => TONES[state])) };
}

/**
 * Return the search for a value, or null for a value with a space: the search takes it for several words.
 * @param {string} field
 * @param {string | null} value
 */
function searchFor(field, value) {
  return value !== null && /\s/.test(value) ? null : `${field}:${value ?? NO_VALUE}`;
}

/** @param {string} title @param {HostGroup[]} groups @param {number} width */
function drawBarChart(title, groups, width) {
  const layout = barChartLayout(width);
  const height = groups.length * layout.rowHeight;
  const most = Math.max(1, ...groups.map((group) => group.hosts));
  const rows = groups.map((group, index) => {
    const description = `${group.label}: ${formatCount(group.hosts, "host")}, ${formatNumber(group.tones.get("good") ?? 0)} protected`;
    const row = drawRow(group, index * layout.rowHeight, layout, most, description);
    if (group.query === null) return createSvg("g", { role: "listitem", "aria-label": description }, row);
    const link = createSvg("a", { href: searchAddress(group.query), "aria-label": description }, row);
    return createSvg("g", { role: "listitem" }, link);
  });
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  return createSvg("svg", { role: "list", ...size, "aria-label": title }, ...rows);
}

/**
 * Place labels beside the bars, or above them where the chart is too narrow.
 * @param {number} width
 */
function barChartLayout(width) {
  if (width < 380) {
    const barWidth = width - COUNT_WIDTH;
    return { width, rowHeight: 40, labelLeft: 0, labelWidth: width, barLeft: 0, barWidth, barTop: 24, barHeight: 11 };
  }
  const barLeft = Math.min(236, Math.floor(width * 0.48));
  const labels = { labelLeft: 4, labelWidth: barLeft - 8 };
  return { width, rowHeight: 26, ...labels, barLeft, barWidth: width - barLeft - COUNT_WIDTH, barTop: 6, barHeight: 14 };
}

/**
 * Draw the label, the bar and the number of hosts of a group.
 * @param {HostGroup} group
 * @param {number} top
 * @param {ReturnType<typeof barChartLayout>} layout
 * @param {number} most The number of hosts of the longest bar.
 * @param {string} description
 */
function drawRow(group, top, layout, most, description) {
  const { width, rowHeight, labelLeft, labelWidth, barHeight } = layout;
  const barTop = top + layout.barTop;
  const countPlace = { x: width - 4, y: barTop + barHeight - 2, "text-anchor": "end" };
  const row = createSvg(
    "g",
    {},
    createSvg("rect", { class: "row", x: 0, y: top, width, height: rowHeight, rx: 4 }),
    createSvg("title", {}, description),
    createSvg("text", { x: labelLeft, y: top + 17 }, shorten(group.label, Math.floor(labelWidth / CHARACTER_WIDTH))),
    createSvg("text", { class: "number", ...countPlace }, formatNumber(group.hosts)),
  );
  let left = layout.barLeft;
  for (const tone of TONE_ORDER) {
    const hostsOfTone = group.tones.get(tone);
    if (!hostsOfTone) continue;
    const size = Math.max(2, (hostsOfTone / most) * layout.barWidth);
    const segment = { x: left, y: barTop, width: Math.max(1, size - 1), height: barHeight };
    row.append(createSvg("rect", { class: "bar", "data-tone": tone, ...segment }));
    left += size;
  }
  return row;
}

/** @param {string} text @param {number} maximum */
function shorten(text, maximum) {
  return text.length > maximum ? `${text.slice(0, maximum - 1)}…` : text;
}
