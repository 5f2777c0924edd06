// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Elements, and what of the fleet is looked at: search, states, order. Nothing here makes markup from text.

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function button(label, className, onClick) {
  const element = make("button", className, label);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

function stateWord(state) {
  const word = make("span", "state", make("span", "mark"), state);
  word.dataset.tone = TONES[state];
  return word;
}

function number(value) {
  return value.toLocaleString("en");
}

function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

function share(value, whole) {
  if (!whole) return "0 %";
  const percent = (100 * value) / whole;
  if (percent > 0 && percent < 1) return "< 1 %";
  return `${percent > 99 && value < whole ? 99 : Math.round(percent)} %`;
}

// "2026-01-10T06:00:00Z" as "2026-01-10 06:00 UTC"; what is no such time stays as it is.
function moment(time) {
  const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z$/.exec(time ?? "");
  return found ? `${found[1]} ${found[2]} UTC` : time;
}

// How long before the report a time was, in words; nothing where that does not matter or is not known.
function age(time) {
  const seconds = (Date.parse(madeAt) - Date.parse(time)) / 1000;
  if (!(seconds >= 0)) return "";
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= 2 * length) return `${count(Math.floor(seconds / length), unit)} earlier`;
  }
  return "";
}

function isPast(date) {
  return /^\d{4}-\d\d-\d\d$/.test(date ?? "") && date < madeAt.slice(0, 10);
}

const view = { query: "", states: new Set(), column: "state", descending: false, shown: hosts };

const FIELDS = {
  host: (host) => host.name,
  kernel: (host) => host.kernel,
  patch: (host) => host.patchVersion,
  client: (host) => host.clientVersion,
};

// What can be found in a part that hosts share, told apart by keys that it always has. Checks that pass are left out:
// they would match every host.
function wordsOf(part) {
  if ("status" in part || "ansible_core" in part) return [];
  if ("containers" in part) return [part.kernel.full, part.kernel.release, part.codename, part.kernel.flavour];
  if ("snapd_version" in part) return [part.version, part.tier, part.server, part.check_state];
  if ("verdict" in part) {
    const others = part.checks.map((place) => parts[place]).filter((check) => check.status !== "pass");
    return others.flatMap((check) => [check.id, check.message]);
  }
  if ("closed" in part) {
    return [part.version, part.state, part.support, part.upgrade_required_by, ...part.closed, ...part.open];
  }
  if ("modules" in part) return part.modules.map((module) => module.module);
  if ("findings" in part) return part.findings.flatMap((finding) => [finding.rule, finding.message]);
  return part.reasons.flatMap((reason) => [reason.id, reason.message, reason.remedy]);
}

const searched = { names: null, parts: null };

function prepareSearch() {
  searched.names ??= hosts.map((host) => host.name.toLowerCase());
  searched.parts ??= parts.map((part) => wordsOf(part).filter(Boolean).join("\n").toLowerCase());
}

function matcherOf(word) {
  const [, field, wanted] = /^(host|kernel|patch|client|rule):(.+)$/.exec(word) ?? [];
  if (field === "rule") return (host) => host.findings.some((finding) => finding.rule.toLowerCase() === wanted);
  if (field) return (host) => (host.recorded || field === "host") && (FIELDS[field](host) ?? NONE).toLowerCase() === wanted;
  const matching = searched.parts.map((text) => text.includes(word));
  const states = fleet.states.map((state) => state.includes(word));
  return (host) =>
    searched.names[host.place].includes(word) ||
    states[host.stateRank] ||
    matching[host.assessmentPart] ||
    matching[host.findingsPart] ||
    (host.recorded &&
      (matching[host.patchPart] ||
        matching[host.systemPart] ||
        matching[host.clientPart] ||
        matching[host.modulesPart] ||
        matching[host.eligibilityPart]));
}

const EXPOSES = { id: "exposes", title: "Exposes", value: (host) => (host.exposes ? String(host.exposes) : null) };

const COLUMNS = [
  { id: "host", title: "Host", value: (host) => host.name },
  { id: "state", title: "State", rank: (host) => host.place },
  ...(hosts.some((host) => host.exposes) ? [EXPOSES] : []),
  { id: "kernel", title: "Kernel", value: (host) => host.kernel },
  { id: "patch", title: "Patch", value: (host) => host.patchVersion },
  { id: "client", title: "Client", value: (host) => host.clientVersion },
  { id: "upgrade", title: "Upgrade by", value: (host) => host.upgradeBy },
  { id: "step", title: "Next step", value: (host) => host.nextStep },
];

// The place of each host in the order of a column. Equal values rank alike, absent ones last whichever way it goes.
function ranksOf(column) {
  if (column.rank) return hosts.map(column.rank);
  const values = hosts.map(column.value);
  const ordered = [...new Set(values)].filter((value) => value !== null);
  const keys = new Map(ordered.map((value) => [value, natural(value)]));
  ordered.sort((one, other) => compare(keys.get(one), keys.get(other)));
  const ranks = new Map(ordered.map((value, rank) => [value, rank]));
  return values.map((value) => (value === null ? null : ranks.get(value)));
}

function choose() {
  let shown = hosts;
  if (view.states.size) shown = shown.filter((host) => view.states.has(host.state));
  const words = view.query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) prepareSearch();
  for (const word of words) shown = shown.filter(matcherOf(word));
  const column = COLUMNS.find((each) => each.id === view.column);
  if (view.column !== "state" || view.descending) {
    column.ranks ??= ranksOf(column);
    const { ranks } = column;
    const sign = view.descending ? -1 : 1;
    shown = [...shown].sort((one, other) => {
      const [first, second] = [ranks[one.place], ranks[other.place]];
      if (first === second) return one.place - other.place;
      if (first === null || second === null) return first === null ? 1 : -1;
      return sign * (first - second);
    });
  }
  view.shown = shown;
}

// How a vulnerability stands, where the search is for one.
function vulnerability() {
  const query = view.query.trim().toUpperCase();
  if (!/^CVE-\d{4}-\d{4,}$/.test(query)) return "";
  const has = (list) => list.some((cve) => cve.toUpperCase() === query);
  const standing = tally(hosts.filter((host) => host.recorded).map((host) => host.patchPart));
  let closed = 0;
  let open = 0;
  for (const [place, times] of standing) {
    if (has(parts[place].open)) open += times;
    else if (has(parts[place].closed)) closed += times;
  }
  return ` · ${query}: patched on ${number(closed)}, not yet on ${number(open)}`;
}

// What is looked at is in the address, so that it can be sent to somebody.
let openedName = null;
let pendingAddress = 0;

function address() {
  const words = [];
  if (view.states.size) words.push(`state=${[...view.states].join(",")}`);
  if (view.query) words.push(`q=${encodeURIComponent(view.query)}`);
  if (openedName !== null) words.push(`host=${encodeURIComponent(openedName)}`);
  return `#${words.join("&")}`;
}

// Browsers limit how often an address may change, so that of a reader who types waits for a pause.
function keepAddress(pause = 0) {
  clearTimeout(pendingAddress);
  pendingAddress = setTimeout(() => history.replaceState(null, "", address()), pause);
}

function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
  const states = (words.get("state") ?? "").split(",").filter((state) => fleet.states.includes(state));
  return { states: new Set(states), query: words.get("q") ?? "", host: words.get("host") };
}
