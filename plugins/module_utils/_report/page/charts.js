// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The fleet as pictures: its states as one bar, its kernels and patches as bars that are split in the same colours.

const MOST_BARS = 7;
const SVG = "http://www.w3.org/2000/svg";
const TONE_ORDER = ["well", "waiting", "wanting", "broken", "outside", "unknown"];

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function showTotals(onChoose) {
  const counts = tally(hosts.map((host) => host.state));
  const present = ["protected", ...fleet.states.slice(0, -1)].filter((state) => counts.has(state));
  const well = counts.get("protected") ?? 0;
  const headline = document.getElementById("headline");
  headline.append(make("strong", "", number(well)), ` of ${count(hosts.length, "host")} protected`);
  headline.append(make("span", "quiet", share(well, hosts.length)));
  const bar = document.getElementById("bar");
  bar.setAttribute("aria-label", present.map((state) => `${number(counts.get(state))} ${state}`).join(", "));
  for (const state of present) {
    const segment = make("span");
    segment.dataset.tone = TONES[state];
    segment.style.flexGrow = counts.get(state);
    segment.title = `${state}: ${number(counts.get(state))}`;
    segment.addEventListener("click", () => onChoose(state));
    bar.append(segment);
    const filter = button("", "filter", () => onChoose(state));
    filter.dataset.state = state;
    const hostsOf = make("span", "number", number(counts.get(state)));
    filter.append(stateWord(state), hostsOf, make("span", "number quiet", share(counts.get(state), hosts.length)));
    document.getElementById("states").append(filter);
  }
}

// The most frequent values, each with its hosts by tone; the others are one bar together.
function groups(valueOf) {
  const found = new Map();
  for (const host of hosts) {
    if (!host.recorded) continue;
    const value = valueOf(host);
    if (!found.has(value)) found.set(value, { value, hosts: 0, tones: {} });
    const group = found.get(value);
    group.hosts += 1;
    group.tones[TONES[host.state]] = (group.tones[TONES[host.state]] ?? 0) + 1;
  }
  const ordered = [...found.values()].sort((one, other) => other.hosts - one.hosts || compare(one.value ?? "", other.value ?? ""));
  const rest = ordered.splice(ordered.length > MOST_BARS + 1 ? MOST_BARS : ordered.length);
  if (rest.length) {
    const others = { others: rest.length, hosts: 0, tones: {} };
    for (const group of rest) {
      others.hosts += group.hosts;
      for (const [tone, times] of Object.entries(group.tones)) others.tones[tone] = (others.tones[tone] ?? 0) + times;
    }
    ordered.push(others);
  }
  return ordered;
}

function chart({ title, field, noun, absent }) {
  const found = groups(FIELDS[field]);
  const most = Math.max(1, ...found.map((group) => group.hosts));
  const figure = make("figure", "card", make("figcaption", "", title));
  const render = () => {
    const width = Math.floor(figure.clientWidth - 2 * parseFloat(getComputedStyle(figure).paddingLeft));
    if (width < 1) return;
    const above = width < 380; // no room for names beside the bars
    const names = above ? 0 : Math.min(236, Math.floor(width * 0.48));
    const numbers = 52;
    const step = above ? 40 : 26;
    const room = width - names - numbers;
    const height = found.length * step;
    const viewBox = `0 0 ${width} ${height}`;
    const picture = draw("svg", { role: "list", width, height, viewBox, "aria-label": title });
    found.forEach((group, index) => {
      const top = index * step;
      const name = group.others ? `${number(group.others)} other ${noun}` : group.value ?? absent;
      const letters = Math.floor((above ? width : names - 8) / 7.3);
      const short = name.length > letters ? `${name.slice(0, letters - 1)}…` : name;
      const line = draw("g", {}, draw("rect", { class: "hit", x: 0, y: top, width, height: step, rx: 4 }));
      const tones = Object.entries(group.tones);
      const spoken = `${name}: ${count(group.hosts, "host")}, ${number(group.tones.well ?? 0)} protected`;
      line.append(draw("title", {}, spoken));
      line.append(draw("text", { x: above ? 0 : 4, y: top + 17 }, short));
      let left = names;
      const bar = { y: above ? top + 24 : top + 6, height: above ? 11 : 14 };
      tones.sort(([one], [other]) => TONE_ORDER.indexOf(one) - TONE_ORDER.indexOf(other));
      for (const [tone, times] of tones) {
        const size = Math.max(2, (times / most) * room);
        line.append(draw("rect", { ...bar, x: left, width: Math.max(1, size - 1), "data-tone": tone, class: "bar" }));
        left += size;
      }
      const label = { x: width - 4, y: bar.y + bar.height - 2, "text-anchor": "end", class: "number" };
      line.append(draw("text", label, number(group.hosts)));
      // A value with a space in it cannot be searched for as one word.
      const linked = !group.others && !/\s/.test(group.value ?? "");
      const href = `#q=${encodeURIComponent(`${field}:${group.value ?? NONE}`)}`;
      const entry = linked ? draw("a", { href, "aria-label": spoken }, line) : line;
      picture.append(draw("g", linked ? { role: "listitem" } : { role: "listitem", "aria-label": spoken }, entry));
    });
    figure.querySelector("svg")?.remove();
    figure.append(picture);
  };
  new ResizeObserver(render).observe(figure);
  return figure;
}

function rulesCard() {
  const broken = tally(hosts.flatMap((host) => host.findings.map((finding) => finding.rule)));
  for (const { rule } of fleet.fleet_findings) broken.set(rule, (broken.get(rule) ?? 0) + 1);
  const list = make("ul", "rules");
  for (const rule of fleet.rules.filter((each) => broken.has(each.id))) {
    const name = make(rule.of_fleet ? "span" : "a", "", rule.id);
    if (!rule.of_fleet) name.href = `#q=${encodeURIComponent(`rule:${rule.id}`)}`;
    const where = rule.of_fleet ? "" : `: ${count(broken.get(rule.id), "host")}`;
    const times = make("span", "number", rule.severity + where);
    const item = make("li", rule.severity, name, times, make("span", "quiet", rule.description));
    for (const finding of fleet.fleet_findings.filter((each) => each.rule === rule.id)) {
      item.append(make("span", "whole", finding.message));
    }
    list.append(item);
  }
  const kept = fleet.rules.filter((rule) => !broken.has(rule.id)).map((rule) => rule.id);
  if (kept.length) list.append(make("li", "", make("span", "quiet", `Kept: ${kept.join(", ")}`)));
  return make("figure", "card", make("figcaption", "", "Rules"), list);
}

function showCharts() {
  const charts = document.getElementById("charts");
  if (hosts.some((host) => host.recorded)) {
    charts.append(chart({ title: "Kernels", field: "kernel", noun: "kernels", absent: "not known" }));
    charts.append(chart({ title: "Patch versions", field: "patch", noun: "versions", absent: "no patch" }));
  }
  if (fleet.rules.length) charts.append(rulesCard());
}

function showProblems() {
  const { problems } = fleet;
  if (!problems.length) return;
  const most = 500;
  const list = make("ul");
  for (const problem of problems.slice(0, most)) {
    list.append(make("li", "", make("code", "", problem.path), make("span", "", problem.message)));
  }
  if (problems.length > most) list.append(make("li", "", `and ${number(problems.length - most)} more`));
  const words = `${count(problems.length, "problem")}: not all of the records could be used`;
  document.getElementById("problems").append(make("details", "card", make("summary", "", words), list));
}
