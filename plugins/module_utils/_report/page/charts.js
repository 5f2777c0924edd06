// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Bar charts of kernels and patch versions. Each bar is split by the tones of its hosts' states.

const MAX_BARS = 7;
const COUNT_WIDTH = 52; // pixels, as all sizes here, for up to 5 characters
const CHARACTER_WIDTH = 7.3;

function showCharts() {
  if (!hosts.some((host) => host.record)) return;
  const recorded = hosts.filter((host) => host.record);
  elementById("charts", HTMLElement).append(
    barChart("Releases", groupHosts(recorded, (host) => host.release, "unknown", "releases", choiceOf("release"))),
    barChart("Kernels", groupHosts(recorded, (host) => host.kernelName, "unknown", "kernels", searchOf("kernel"))),
    barChart("Patch versions", groupHosts(recorded, (host) => host.patchVersion, "no patch", "versions", searchOf("patch"))),
  );
}

/** Show the hosts by each key of groups. The numbers are of protected hosts and of eligible ones. */
function showGroups() {
  for (const key of report.group_keys) {
    const groups = groupHosts(hosts, (host) => host.groups[key] ?? null, "none", "groups", choiceOf(key));
    const figure = barChart(`Protected by ${key}`, groups, ({ tones, eligible }) => {
      return `${formatNumber(tones.get("good") ?? 0)}/${formatNumber(eligible)}`;
    });
    elementById("board", HTMLElement).append(figure);
  }
}

/**
 * Return a function that returns the address with the hosts of a value that a reader can choose.
 * @param {string} key
 */
function choiceOf(key) {
  return (/** @type {string | null} */ value) => (value === null ? null : `#in=${encodeURIComponent(`${key}:${value}`)}`);
}

/**
 * Return a function that returns the address of the search for a value. A search takes a value with a space for several
 * words.
 * @param {string} field
 */
function searchOf(field) {
  return (/** @type {string | null} */ value) =>
    value !== null && /\s/.test(value) ? null : searchAddress(`${field}:${value ?? NO_VALUE}`);
}

/**
 * @param {string} title
 * @param {HostGroup[]} groups
 * @param {(group: HostGroup) => string} describe
 */
function barChart(title, groups, describe = (group) => formatNumber(group.hosts)) {
  const picture = createElement("div", "");
  drawToFit(picture, (width) => drawBarChart(title, groups, width, describe));
  return createElement("figure", "card", createElement("figcaption", "", title), picture);
}

/**
 * Group hosts by a value: the most frequent values, and one group for all others.
 * @param {Host[]} all
 * @param {(host: Host) => string | null} valueOf
 * @param {string} noValueLabel
 * @param {string} plural
 * @param {(value: string | null) => string | null} addressOf
 * @returns {HostGroup[]}
 */
function groupHosts(all, valueOf, noValueLabel, plural, addressOf) {
  const found = [...Map.groupBy(all, valueOf)].sort(
    ([one, oneHosts], [other, otherHosts]) =>
      otherHosts.length - oneHosts.length || compareTexts(one ?? "", other ?? ""),
  );
  // A bar for "1 other" would take the place of the bar that it stands for.
  const shown = found.length <= MAX_BARS + 1 ? found.length : MAX_BARS;
  const groups = found
    .slice(0, shown)
    .map(([value, members]) => createGroup(value ?? noValueLabel, addressOf(value), members));
  const rest = found.slice(shown);
  if (rest.length > 0) {
    const members = rest.flatMap(([, each]) => each);
    groups.push(createGroup(`${formatNumber(rest.length)} other ${plural}`, null, members));
  }
  return groups;
}

/**
 * @param {string} label
 * @param {string | null} address
 * @param {Host[]} members
 * @returns {HostGroup}
 */
function createGroup(label, address, members) {
  const eligible = members.filter(({ state }) => state !== "ineligible").length;
  const tones = countValues(members.map((host) => (host.isOutdated ? "unknown" : stateTone(host.state))));
  return { label, address, hosts: members.length, eligible, tones };
}

/** @param {string} title @param {HostGroup[]} groups @param {number} width @param {(group: HostGroup) => string} describe */
function drawBarChart(title, groups, width, describe) {
  const countLength = Math.max(...groups.map((group) => describe(group).length));
  const labelLength = Math.max(...groups.map(({ label }) => label.length));
  const layout = barChartLayout(width, Math.max(COUNT_WIDTH, Math.ceil(countLength * CHARACTER_WIDTH) + 14), labelLength);
  const height = groups.length * layout.rowHeight;
  const most = Math.max(1, ...groups.map((group) => group.hosts));
  const rows = groups.map((group, index) => {
    const description = `${group.label}: ${formatCount(group.hosts, "host")}, ${formatNumber(group.tones.get("good") ?? 0)} protected`;
    const row = drawRow(group, index * layout.rowHeight, layout, most, description, describe(group));
    if (group.address === null) return createSvg("g", { role: "listitem", "aria-label": description }, row);
    const link = createSvg("a", { href: group.address }, row);
    return createSvg("g", { role: "listitem" }, link);
  });
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  return createSvg("svg", { role: "list", ...size, "aria-label": title }, ...rows);
}

/**
 * Place labels beside the bars, or above them where the chart is too narrow.
 * @param {number} width
 * @param {number} countWidth
 * @param {number} longest The number of characters of the longest label.
 */
function barChartLayout(width, countWidth, longest) {
  if (width < 380) {
    const barWidth = width - countWidth;
    return { width, rowHeight: 40, labelLeft: 0, labelWidth: width, barLeft: 0, barWidth, barTop: 24, barHeight: 11 };
  }
  const barLeft = Math.min(Math.max(120, Math.ceil(longest * CHARACTER_WIDTH) + 16), 236, Math.floor(width * 0.48));
  const labels = { labelLeft: 4, labelWidth: barLeft - 8 };
  return { width, rowHeight: 26, ...labels, barLeft, barWidth: width - barLeft - countWidth, barTop: 6, barHeight: 14 };
}

/**
 * Draw the label, the bar and the number of hosts of a group.
 * @param {HostGroup} group
 * @param {number} top
 * @param {ReturnType<typeof barChartLayout>} layout
 * @param {number} most The number of hosts of the longest bar.
 * @param {string} description
 * @param {string} count
 */
function drawRow(group, top, layout, most, description, count) {
  const { width, rowHeight, labelLeft, labelWidth, barHeight } = layout;
  const barTop = top + layout.barTop;
  const countPlace = { x: width - 4, y: barTop + barHeight - 2, "text-anchor": "end" };
  const row = createSvg(
    "g",
    {},
    createSvg("rect", { class: "row", x: 0, y: top, width, height: rowHeight, rx: 4 }),
    createSvg("title", {}, description),
    createSvg("text", { x: labelLeft, y: top + 17 }, shorten(group.label, Math.floor(labelWidth / CHARACTER_WIDTH))),
    createSvg("text", { class: "number", ...countPlace }, count),
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
