// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The top of the page: times, hosts by state, rules, and records that could not be used.

const MAX_PROBLEMS = 500;

function showTimes() {
  const element = elementById("generated", HTMLTimeElement);
  element.dateTime = generatedAt;
  element.textContent = formatTime(generatedAt);
  const notes = [];
  const oldest = formatTime(report.oldest_record);
  const newest = formatTime(report.newest_record);
  if (oldest && newest) notes.push(oldest === newest ? `records from ${oldest}` : `records from ${oldest} to ${newest}`);
  if (report.left_out) notes.push(`${formatCount(report.left_out, "host")} with records not in this report`);
  elementById("record-times", HTMLSpanElement).textContent = notes.map((note) => ` · ${note}`).join("");
  elementById("run", HTMLParagraphElement).textContent = describeRun();
}

/** Return by which policies the hosts were judged, and which hosts the report has. */
function describeRun() {
  const policies = countValues(hosts.flatMap(({ record }) => (record ? [record.eligibility.policy] : [])));
  const named = [...policies].map(([policy, count]) => (policies.size > 1 ? `${policy} (${formatNumber(count)})` : policy));
  const texts = [];
  if (named.length > 0) texts.push(`Policy: ${named.join(", ")}`);
  if (report.inventory) texts.push(`Inventory: ${report.inventory}`);
  if (report.limit) texts.push(`Limited to: ${report.limit}`);
  return texts.join(" · ");
}

/** @param {(state: State) => void} onChoose */
function showStates(onChoose) {
  const counts = countValues(hosts.map((host) => host.state));
  const bar = elementById("bar", HTMLDivElement);
  const filters = elementById("states", HTMLDivElement);
  // Protected hosts are last in the report, and first here.
  const order = new Set(/** @type {State[]} */ (["protected", ...report.states]));
  const descriptions = [];
  for (const state of order) {
    const count = counts.get(state);
    if (!count) continue;
    bar.append(stateSegment(state, count, onChoose));
    filters.append(stateFilter(state, count, onChoose));
    descriptions.push(`${formatNumber(count)} ${stateName(state).toLowerCase()}`);
  }
  bar.setAttribute("aria-label", descriptions.join(", "));
}

function showOtherPolicies() {
  const counts = Object.entries(report.covered_by_other_policies);
  elementById("other-policies", HTMLDivElement).append(
    ...counts.map(([policy, count]) =>
      createElement(
        "p",
        "muted",
        `${formatCount(count, "ineligible host")} ${count === 1 ? "is" : "are"} covered by policy '${policy}': set `,
        createElement("code", "", `livepatch_policy=${policy}`),
      ),
    ),
  );
}

/** @param {State} state @param {number} count @param {(state: State) => void} onChoose */
function stateSegment(state, count, onChoose) {
  const segment = createElement("span", "");
  segment.dataset.tone = stateTone(state);
  segment.style.flexGrow = String(count);
  segment.title = `${stateName(state)}: ${formatNumber(count)}`;
  segment.addEventListener("click", () => onChoose(state));
  return segment;
}

/** @param {State} state @param {number} count @param {(state: State) => void} onChoose */
function stateFilter(state, count, onChoose) {
  const filter = createButton("", "filter", () => onChoose(state));
  filter.dataset.state = state;
  filter.title = STATE_TEXTS[state].meaning;
  filter.append(
    createStateLabel(state),
    createElement("span", "number", formatNumber(count)),
    createElement("span", "number muted", formatPercentage(count, hosts.length)),
  );
  return filter;
}

function showRules() {
  if (report.rules.length === 0) return;
  const hostCounts = countValues(hosts.flatMap((host) => host.findings?.findings.map(({ rule }) => rule) ?? []));
  const list = createElement("ul", "rules");
  const passing = [];
  for (const rule of report.rules) {
    const fleetFindings = report.fleet_findings.filter((finding) => finding.rule === rule.id);
    const failingHosts = hostCounts.get(rule.id) ?? 0;
    if (failingHosts > 0 || fleetFindings.length > 0) list.append(ruleItem(rule, failingHosts, fleetFindings));
    else passing.push(rule.id);
  }
  if (passing.length > 0) {
    list.append(createElement("li", "", createElement("span", "muted", `Passing: ${passing.join(", ")}`)));
  }
  const card = createElement("figure", "card wide", createElement("figcaption", "", "Rules"), list);
  elementById("charts", HTMLElement).append(card);
}

/** @param {Rule} rule @param {number} failingHosts @param {Finding[]} fleetFindings */
function ruleItem(rule, failingHosts, fleetFindings) {
  // A rule for the fleet can name hosts too.
  const name = failingHosts > 0 ? createSearchLink(rule.id, `rule:${rule.id}`) : createElement("span", "", rule.id);
  const count = failingHosts > 0 ? `${rule.severity}: ${formatCount(failingHosts, "host")}` : rule.severity;
  return createElement(
    "li",
    rule.severity,
    name,
    createElement("span", "number", count),
    createElement("span", "muted", rule.description),
    ...fleetFindings.map(({ message }) => createElement("span", "fleet-finding", message)),
  );
}

const WAIVER_LABELS = { active: "", expiring: "expires soon", expired: "expired" };

function showWaivers() {
  const { waivers } = report;
  if (waivers.length === 0) return;
  const rows = waivers.slice(0, MAX_PROBLEMS).map(({ scope, reason, owner, expires, status, findings }) => {
    const label = createElement("strong", "overdue", WAIVER_LABELS[status]);
    return [scope, owner, createElement("span", "", expires, label), formatNumber(findings), reason];
  });
  const table = createTable(["Exception for", "Owner", "Expires", "Findings", "Reason"], rows);
  table.classList.add("waivers");
  const card = createElement("figure", "card wide", createElement("figcaption", "", "Exceptions (waivers)"), table);
  if (waivers.length > MAX_PROBLEMS) {
    card.append(createElement("p", "muted", `and ${formatNumber(waivers.length - MAX_PROBLEMS)} more`));
  }
  for (const { rule, message, waiver } of report.fleet_waived) {
    card.append(createElement("p", "muted", `${rule}: ${message}. ${waiver}`));
  }
  elementById("charts", HTMLElement).append(card);
}

function showProblems() {
  const { problems } = report;
  if (problems.length === 0) return;
  const items = problems
    .slice(0, MAX_PROBLEMS)
    .map(({ path, message }) =>
      createElement("li", "", createElement("code", "", path), createElement("span", "", message)),
    );
  if (problems.length > MAX_PROBLEMS) {
    items.push(createElement("li", "", `and ${formatNumber(problems.length - MAX_PROBLEMS)} more`));
  }
  const title = `${formatCount(problems.length, "problem")}: some records could not be used`;
  const summary = createElement("summary", "", title);
  elementById("problems", HTMLElement).append(
    createElement("details", "card", summary, createElement("ul", "", ...items)),
  );
}
