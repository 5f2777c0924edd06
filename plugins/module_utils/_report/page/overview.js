// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The figures for a reader who has a minute: protected of eligible hosts, the trend, the oldest open vulnerability of
// critical priority, exceptions, and the hosts to act on first.

const WORST_HOSTS = 10;
const DAYS_OF_TREND = 7;

/** @param {Partial<Record<State, number>>} states */
function protectedOfEligible(states) {
  const all = Object.values(states).reduce((sum, count) => sum + count, 0);
  return { protectedHosts: states.protected ?? 0, eligible: all - (states.ineligible ?? 0) };
}

function showOverview() {
  const counts = countValues(hosts.map(({ state }) => state));
  const { protectedHosts: all, eligible } = protectedOfEligible(Object.fromEntries(counts));
  const outdated = hosts.filter((host) => host.isOutdated).length;
  const protectedHosts = all - outdated;
  const headline = elementById("headline", HTMLParagraphElement);
  headline.append(
    createElement("strong", "", formatNumber(protectedHosts)),
    ` of ${formatCount(eligible, "eligible host")} protected`,
    createElement("span", "muted", eligible > 0 ? formatPercentage(protectedHosts, eligible) : "–"),
  );
  if (outdated > 0) {
    const note = `${formatNumber(outdated)} more in records older than ${LONGEST_AGE_HOURS} hours`;
    headline.append(createElement("span", "muted small", note));
  }
  const excluded = hosts.length - eligible;
  if (excluded > 0) headline.append(createElement("span", "muted small", `${formatNumber(excluded)} more not eligible`));
  const figures = [trendFigure(protectedHosts, eligible), oldestCveFigure(), exceptionsFigure(), containersFigure()];
  elementById("figures", HTMLElement).append(...figures.filter((figure) => figure !== null));
}

/** @param {number} protectedHosts @param {number} eligible */
function trendFigure(protectedHosts, eligible) {
  const days = report.history?.days ?? [];
  const wanted = new Date(Date.parse(generatedAt) - DAYS_OF_TREND * 86_400_000).toISOString().slice(0, 10);
  const earlier = days.findLast(({ date }) => date <= wanted);
  if (!earlier || eligible === 0) return null;
  const then = protectedOfEligible(earlier.states);
  if (then.eligible === 0) return null;
  const before = (100 * then.protectedHosts) / then.eligible;
  const points = (100 * protectedHosts) / eligible - before;
  const size = Math.abs(points).toFixed(1);
  const change = size === "0.0" ? "unchanged" : `${points > 0 ? "▲" : "▼"} ${size} points`;
  const note = `since ${earlier.date}: ${formatNumber(then.protectedHosts)} of ${formatNumber(then.eligible)}, ${before.toFixed(1)}%`;
  const figure = figureItem("Change in a week", change, note);
  figure.dataset.tone = points < -0.05 ? "bad" : "good";
  return figure;
}

function oldestCveFigure() {
  if (!report.vulnerabilities) return null;
  const critical = report.vulnerabilities.cves.filter(({ priority }) => priority === "critical");
  const [oldest] = critical.sort((one, other) => compareTexts(one.published ?? "9", other.published ?? "9"));
  if (!oldest) {
    const figure = figureItem("Oldest open critical CVE", "none", "no vulnerability of priority critical is open");
    figure.dataset.tone = "good";
    return figure;
  }
  const days = daysSince(oldest.published);
  const age = days === null ? "unknown age" : formatCount(days, "day");
  const figure = figureItem("Oldest open critical CVE", age, ` · ${formatCount(oldest.counts.open, "host")}`);
  figure.querySelector(".muted")?.prepend(createSearchLink(oldest.cve, oldest.cve));
  figure.dataset.tone = "bad";
  return figure;
}

/** @param {string | null} published */
function daysSince(published) {
  const days = Math.floor((Date.parse(generatedAt) - Date.parse(published ?? "")) / 86_400_000);
  return Number.isNaN(days) ? null : days;
}

function exceptionsFigure() {
  const valid = report.waivers.filter(({ status }) => status !== "expired");
  if (report.waivers.length === 0) return null;
  const [next] = [...valid].sort((one, other) => compareTexts(one.expires, other.expires));
  const note = next ? `next to expire: ${next.expires}, ${next.owner}` : "all have expired";
  const figure = figureItem("Exceptions", formatNumber(valid.length), note);
  if (report.waivers.some(({ status }) => status !== "active")) figure.dataset.tone = "action";
  return figure;
}

function containersFigure() {
  const number = hosts.reduce((sum, host) => sum + host.exposedContainers, 0);
  if (number === 0) return null;
  return figureItem("Containers", formatNumber(number), "run on kernels that are not protected");
}

/** @param {Host} one @param {Host} other */
function compareOpenCves(one, other) {
  return Number(openCvesOfHost.get(other) ?? 0) - Number(openCvesOfHost.get(one) ?? 0);
}

/** @type {State[]} The states that a person can do something about, in the order in which to do it. */
const ACT_FIRST = [
  "tampered",
  "failed",
  "exposed",
  "end_of_life",
  "upgrade_required",
  "no_answer",
  "held_back",
  "disabled",
  "stale",
  "unverified",
  "unknown",
];

function showWorstHosts() {
  const worst = ACT_FIRST.flatMap((state) => hosts.filter((host) => host.state === state).sort(compareOpenCves));
  if (worst.length === 0) return;
  const items = worst.slice(0, WORST_HOSTS).map((host) => {
    const link = createElement("a", "", host.name);
    link.href = `#host=${encodeURIComponent(host.name)}`;
    const open = Number(openCvesOfHost.get(host) ?? 0);
    const cves = createElement("span", "muted", open > 0 ? `${formatNumber(open)} open CVE${open === 1 ? "" : "s"}` : "");
    const step = createElement("span", "muted step", ...stepNodes(host.nextStep ?? ""));
    return createElement("li", "", createElement("span", "name", link), createStateLabel(host.state), cves, step);
  });
  const rest = worst.length - items.length;
  const title = rest > 0 ? `Act on these first: ${formatNumber(items.length)} of ${formatCount(worst.length, "host")}` : "Act on these first";
  elementById("board", HTMLElement).append(
    createElement("figure", "card wide", createElement("figcaption", "", title), createElement("ol", "worst", ...items)),
  );
}
