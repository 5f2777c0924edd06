// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// Decides which hosts are shown, and in which order: state filter, search, and the column that sorts.

/** The value that finds hosts without one: `patch:none`. */
const NO_VALUE = "none";

const CVE_NUMBER = /^CVE-\d{4}-\d{4,}$/i;

const view = {
  query: "",
  /** @type {Set<State>} Hosts in these states are shown, or all hosts if it is empty. */
  states: new Set(),
  /** @type {Map<string, string>} The value that the shown hosts have, by key: release, and keys of groups. */
  chosen: new Map(),
  sortColumn: "state",
  descending: false,
  /** @type {Host[]} The hosts that are shown, in this order. */
  hosts,
};

/** @type {Record<string, (host: Host) => string | null>} Fields that a search such as `patch:107.1` compares. */
const SEARCH_FIELDS = {
  host: (host) => host.name,
  kernel: (host) => host.kernelName,
  patch: (host) => host.patchVersion,
  client: (host) => host.clientVersion,
  release: (host) => host.release,
  state: (host) => host.state,
};

/** @typedef {{id: string, title: string, text: (host: Host) => string | null}} Column */

/** @type {Column} */
const EXPOSES_COLUMN = {
  id: "exposes",
  title: "Containers",
  text: (host) => (host.exposedContainers > 0 ? formatNumber(host.exposedContainers) : null),
};

/** @type {Column} */
const OPEN_CVES_COLUMN = {
  id: "vulnerable",
  title: "Open CVEs",
  text: (host) => (host.record ? (openCvesOfHost.get(host) ?? null) : null),
};

/** @param {string} key @returns {Column} */
function createGroupColumn(key) {
  return { id: `group-${key}`, title: key, text: (host) => host.groups[key] ?? null };
}

/** @type {Record<string, (host: Host) => string | null>} What a reader can choose in a list above the table. */
const CHOICES = {
  release: (host) => host.release,
  ...Object.fromEntries(report.group_keys.map((key) => [key, (/** @type {Host} */ host) => host.groups[key] ?? null])),
};

/** @type {Column[]} */
const COLUMNS = [
  { id: "host", title: "Host", text: (host) => host.name },
  { id: "state", title: "State", text: (host) => stateName(host.state) },
  ...report.group_keys.map(createGroupColumn),
  ...(hosts.some((host) => host.exposedContainers > 0) ? [EXPOSES_COLUMN] : []),
  ...(report.vulnerabilities ? [OPEN_CVES_COLUMN] : []),
  { id: "release", title: "Release", text: (host) => host.release },
  { id: "kernel", title: "Kernel", text: (host) => host.kernelName },
  { id: "patch", title: "Patch", text: (host) => host.patchVersion },
  { id: "client", title: "Client", text: (host) => host.clientVersion },
  { id: "upgrade", title: "Upgrade by", text: (host) => host.upgradeBy },
  { id: "support", title: "Support", text: (host) => host.support },
  { id: "step", title: "Next step", text: (host) => host.nextStep },
];

/** Apply the filters and the order of `view` to all hosts. */
function updateShownHosts() {
  let shown = hosts;
  if (view.states.size > 0) shown = shown.filter((host) => view.states.has(host.state));
  for (const [key, value] of view.chosen) {
    const textOf = CHOICES[key];
    if (textOf) shown = shown.filter((host) => textOf(host) === value);
  }
  for (const word of view.query.toLowerCase().split(/\s+/)) {
    if (word) shown = shown.filter(matcherOf(word));
  }
  view.hosts = sortHosts(shown);
}

/**
 * Return a function that tells whether a host matches a word of the search.
 * @param {string} word In lower case.
 * @returns {(host: Host) => boolean}
 */
function matcherOf(word) {
  const separator = word.indexOf(":");
  const field = word.slice(0, separator);
  const value = word.slice(separator + 1);
  if (field === "rule" && value) {
    return (host) => host.findings !== null && host.findings.findings.some(({ rule }) => rule.toLowerCase() === value);
  }
  const textOf = SEARCH_FIELDS[field];
  if (textOf && value) return (host) => isFieldKnown(host, field) && (textOf(host) ?? NO_VALUE).toLowerCase() === value;
  return fullTextMatcherOf(word);
}

/**
 * A host that gave no answer has a name, and nothing is known of its other fields: it does not match `patch:none`.
 * @param {Host} host
 * @param {string} field
 */
function isFieldKnown(host, field) {
  return host.record !== null || field === "host" || field === "state";
}

/** @type {Map<Part, string>} The text of each part that is searched, in lower case. Filled by the first search. */
const searchTexts = new Map();

/**
 * @param {string} word In lower case.
 * @returns {(host: Host) => boolean}
 */
function fullTextMatcherOf(word) {
  if (searchTexts.size === 0) hosts.forEach(addSearchTexts);
  if (CVE_NUMBER.test(word)) {
    // Only what the client reports: the text of a rule has the number too, and every host that breaks the rule has it.
    return ({ record }) => record !== null && [...record.patch.open, ...record.patch.closed].some((cve) => cve.toLowerCase() === word);
  }
  /** @type {Set<Part | null>} */
  const matching = new Set();
  for (const [sharedPart, text] of searchTexts) {
    if (text.includes(word)) matching.add(sharedPart);
  }
  return ({ name, state, assessment, findings, groups, record }) =>
    name.toLowerCase().includes(word) ||
    state.includes(word) ||
    stateName(state).toLowerCase().includes(word) ||
    Object.values(groups).some((group) => group.toLowerCase().includes(word)) ||
    matching.has(assessment) ||
    matching.has(findings) ||
    (record !== null &&
      (matching.has(record.patch) ||
        matching.has(record.system) ||
        matching.has(record.client) ||
        matching.has(record.modules) ||
        matching.has(record.eligibility)));
}

/** @param {Host} host */
function addSearchTexts({ assessment, findings, record }) {
  addSearchText(assessment, reasonTexts);
  if (findings) addSearchText(findings, findingTexts);
  if (!record) return;
  addSearchText(record.patch, patchTexts);
  addSearchText(record.system, ({ kernel, codename, release }) => [kernel.full, kernel.release, kernel.flavour, codename, release]);
  addSearchText(record.client, ({ version, tier, server, check_state: check }) => [version, tier, server, check]);
  addSearchText(record.modules, ({ modules }) => modules.map(({ module }) => module));
  addSearchText(record.eligibility, failedCheckTexts);
}

/**
 * @template {Part} Type
 * @param {Type} sharedPart
 * @param {(part: Type) => (string | null)[]} textsOf
 */
function addSearchText(sharedPart, textsOf) {
  if (searchTexts.has(sharedPart)) return;
  const texts = textsOf(sharedPart).filter((text) => text !== null);
  searchTexts.set(sharedPart, texts.join("\n").toLowerCase());
}

/** @param {Assessment} assessment */
function reasonTexts({ reasons }) {
  return reasons.flatMap(({ id, message, remedy }) => [id, message, remedy]);
}

/** @param {Findings} part */
function findingTexts({ findings }) {
  return findings.flatMap(({ rule, message }) => [rule, message]);
}

/** @param {Patch} patch */
function patchTexts({ version, state, support, upgrade_required_by: upgradeBy, closed, open }) {
  return [version, state, support, upgradeBy, ...closed, ...open];
}

/**
 * Checks that pass are left out: they would match almost every host.
 * @param {Eligibility} eligibility
 */
function failedCheckTexts(eligibility) {
  const others = checksOf(eligibility).filter(({ status }) => status !== "pass");
  return others.flatMap(({ id, message }) => [id, message]);
}

/**
 * Sort hosts, which are in the order of the report, by the column that the reader chose.
 * @param {Host[]} shown
 */
function sortHosts(shown) {
  const column = COLUMNS.find(({ id }) => id === view.sortColumn);
  // The order of the report is that of the states.
  if (!column || column.id === "state") return view.descending ? [...shown].reverse() : shown;
  const ranks = ranksOf(column);
  return [...shown].sort((one, other) => {
    const first = ranks[one.position] ?? null;
    const second = ranks[other.position] ?? null;
    if (first === second) return one.position - other.position;
    if (first === null) return 1; // hosts without a value come last in both directions
    if (second === null) return -1;
    return view.descending ? second - first : first - second;
  });
}

/** @type {Map<Column, (number | null)[]>} */
const knownRanks = new Map();

/**
 * Return the rank of each host, by its position: equal values have equal ranks, and hosts without a value have none.
 * @param {Column} column
 */
function ranksOf(column) {
  const known = knownRanks.get(column);
  if (known) return known;
  const texts = hosts.map(column.text);
  const keys = texts.map((text) => (text === null ? null : naturalSortKey(text)));
  const ordered = [...new Set(keys)].filter((key) => key !== null).sort(compareTexts);
  const rankOfKey = new Map(ordered.map((key, rank) => [key, rank]));
  const ranks = keys.map((key) => (key === null ? null : (rankOfKey.get(key) ?? null)));
  knownRanks.set(column, ranks);
  return ranks;
}

/**
 * Return on how many hosts a CVE is patched, or an empty text where the search is for anything else.
 *
 * A host counts as patched only if its record shows that the patch runs.
 */
function describeSearchedCve() {
  const cve = view.query.trim().toUpperCase();
  if (!CVE_NUMBER.test(cve)) return "";
  const evaluated = describeEvaluatedCve(cve);
  if (evaluated) return evaluated;
  /** @param {boolean} running */
  const patchesOf = (running) =>
    hosts.flatMap(({ record }) => (record && record.patchRuns === running ? [record.patch] : []));
  let patched = 0;
  let open = 0;
  for (const running of [true, false]) {
    for (const [patch, count] of countValues(patchesOf(running))) {
      if (includesCve(patch.open, cve)) open += count;
      else if (running && includesCve(patch.closed, cve)) patched += count;
    }
  }
  const unknown = hosts.length - patched - open;
  return `${cve}: patched on ${formatCount(patched, "host")}, not patched on ${formatNumber(open)}, unknown on ${formatNumber(unknown)}`;
}

/** @param {string[]} cves @param {string} wanted In upper case. */
function includesCve(cves, wanted) {
  return cves.some((cve) => cve.toUpperCase() === wanted);
}
