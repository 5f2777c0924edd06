// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The open vulnerabilities of the fleet: priority, age, hosts by status, and for each status the evidence and the hosts.

const FIRST_CVES = 20;
const FIRST_HOSTS = 50;
const MOST_NAMES_OF_A_STEP = 5;

/** @type {CveStatus[]} The most urgent first. */
const CVE_STATUSES = ["open", "unknown", "waived", "live_patched", "fixed", "not_affected"];

/** @type {Record<CveStatus, Tone>} */
const CVE_TONES = { open: "bad", unknown: "unknown", waived: "action", live_patched: "good", fixed: "good", not_affected: "excluded" };

const EVIDENCE_LABELS = {
  client: "the list of the client",
  package_data: "package data",
  notice: "a security notice",
};

/** @type {Map<Host, number>} The kind of each host: hosts of a kind have equal evidence. */
const kindOfHost = new Map();
/** @type {Map<Host, string>} The number of open vulnerabilities among those that the page has, or "unknown". */
const openCvesOfHost = countOpenCves();

function countOpenCves() {
  /** @type {Map<Host, string>} */
  const texts = new Map();
  if (!report.vulnerabilities) return texts;
  const { kinds, cves, evaluations } = report.vulnerabilities;
  const open = kinds.map(() => 0);
  const unknown = kinds.map(() => 0);
  const counted = new Map([
    ["open", open],
    ["unknown", unknown],
  ]);
  for (const { groups } of cves) {
    for (const [evaluation, members] of groups) {
      const counts = counted.get(countedStatus(evaluations[evaluation]) ?? "");
      if (counts) for (const kind of members) counts[kind] = (counts[kind] ?? 0) + 1;
    }
  }
  kinds.forEach((positions, kind) => {
    for (const position of positions) {
      const host = hosts[position];
      if (!host) continue;
      kindOfHost.set(host, kind);
      texts.set(host, open[kind] || !unknown[kind] ? formatNumber(open[kind] ?? 0) : "unknown");
    }
  });
  return texts;
}

/**
 * Return the status under which hosts are counted.
 * @param {CveEvaluation | undefined} evaluation
 * @returns {CveStatus | undefined}
 */
function countedStatus(evaluation) {
  return evaluation?.waived ? "waived" : evaluation?.status;
}

/** @param {string} text */
function statusLabel(text) {
  return text.replaceAll("_", " ");
}

/** @param {string | null} published */
function cveAge(published) {
  if (published === null) return "no date";
  const days = daysSince(published);
  return days === null || days < 0 ? published : `${published} · ${formatCount(days, "day")}`;
}

/**
 * Return the numbers of hosts by status, including those without hosts: they add up to all hosts.
 * @param {Record<CveStatus, number>} counts
 */
function describeCounts(counts) {
  return CVE_STATUSES.map((status) => `${statusLabel(status)} ${formatNumber(counts[status])}`).join(" · ");
}

function showVulnerabilities() {
  const data = report.vulnerabilities;
  if (!data) return;
  const section = elementById("vulnerabilities", HTMLElement);
  const card = createElement("figure", "card", createElement("figcaption", "", "Open vulnerabilities"));
  card.append(vulnerabilityFigures(data));
  section.append(card);
  if (data.cves.length === 0) return;
  const list = createElement("div", "cve-rows");
  const search = createElement("input", "");
  const found = createElement("p", "muted");
  found.role = "status";
  search.type = "search";
  search.placeholder = "Search CVE, priority, status, package, host";
  search.ariaLabel = "Search vulnerabilities";
  search.autocomplete = "off";
  search.spellcheck = false;
  let most = FIRST_CVES;
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = words.length > 0 ? data.cves.filter((each) => matchesCve(each, data, words)) : data.cves;
    const shown = matching.slice(0, most).map((each) => cveRow(each, data));
    const more = matching.length - shown.length;
    list.replaceChildren(cveHeadings(), ...shown);
    if (more > 0) {
      list.append(
        createButton(`Show ${formatNumber(more)} more`, "plain", () => {
          most = Infinity;
          update();
        }),
      );
    }
    const texts = [`${formatNumber(matching.length)} of ${formatNumber(data.cves.length)} open vulnerabilities`];
    if (data.left_out > 0) texts.push(`${formatNumber(data.left_out)} less urgent ones left out`);
    found.textContent = texts.join(" · ");
  };
  search.addEventListener("input", update);
  card.append(createElement("div", "cve-tools", search, found), list);
  update();
}

/** @param {Vulnerabilities} data */
function vulnerabilityFigures(data) {
  const priorities = countValues(data.cves.map(({ priority }) => priority ?? "unrated"));
  const list = createElement("dl", "figures");
  for (const [priority, count] of priorities) {
    list.append(figureItem(priority, formatNumber(count), count === 1 ? "vulnerability" : "vulnerabilities"));
  }
  if (data.cves.length === 0) list.append(figureItem("Open", "0", `of ${formatNumber(data.evaluated)} evaluated`));
  for (const status of CVE_STATUSES) {
    const count = data.hosts_by_status[status];
    if (count > 0) list.append(figureItem(`Hosts: ${statusLabel(status)}`, formatNumber(count), formatPercentage(count, hosts.length)));
  }
  const dated = data.oldest_data ? ` · oldest package data ${data.oldest_data}` : "";
  const note = createElement(
    "p",
    "muted",
    `Each host counts once, by its most urgent status. Evaluated: ${formatNumber(data.evaluated)} of priority ${data.minimum_priority} or higher${dated}`,
  );
  return createElement("div", "", list, note);
}

function cveHeadings() {
  const row = createElement(
    "div",
    "cve-headings muted",
    ...["CVE", "Priority", "Published", "Hosts", ""].map((heading) => createElement("span", "", heading)),
  );
  row.ariaHidden = "true";
  return row;
}

/** @param {OpenCve} each @param {Vulnerabilities} data @param {string[]} words In lower case. */
function matchesCve(each, data, words) {
  const groups = each.groups.map(([evaluation]) => data.evaluations[evaluation]);
  const texts = [
    each.cve,
    each.priority ?? "unrated",
    each.published,
    ...groups.flatMap((group) => (group ? [group.status, evaluationLabel(group), group.fix, group.source_package] : [])),
  ];
  const text = texts.join("\n").toLowerCase();
  return words.every((word) => text.includes(word) || isOpenOnMatchingHost(each, data, word));
}

/** @param {OpenCve} each @param {Vulnerabilities} data @param {string} word In lower case. */
function isOpenOnMatchingHost(each, data, word) {
  return each.groups.some(
    ([evaluation, kinds]) =>
      data.evaluations[evaluation]?.status === "open" &&
      hostsOfKinds(kinds, data).some((host) => host.name.toLowerCase().includes(word)),
  );
}

/** @param {number[]} kinds @param {Vulnerabilities} data */
function hostsOfKinds(kinds, data) {
  const positions = kinds.flatMap((kind) => data.kinds[kind] ?? []).sort((first, second) => first - second);
  return positions.flatMap((position) => hosts[position] ?? []);
}

/** @param {OpenCve} each @param {Vulnerabilities} data */
function cveRow(each, data) {
  const bar = createElement("span", "cve-bar");
  for (const status of CVE_STATUSES) {
    if (each.counts[status] === 0) continue;
    const segment = createElement("span", "");
    segment.dataset.tone = CVE_TONES[status];
    segment.style.flexGrow = String(each.counts[status]);
    bar.append(segment);
  }
  bar.title = describeCounts(each.counts);
  const priority = createElement("span", "state", createElement("span", "mark"), each.priority ?? "unrated");
  priority.dataset.tone = each.priority === "high" || each.priority === "medium" ? "action" : "bad";
  if (each.priority === "low" || each.priority === "negligible") priority.dataset.tone = "excluded";
  const open = createElement("strong", "", `${formatNumber(each.counts.open)} open`);
  const others = CVE_STATUSES.slice(1).filter((status) => each.counts[status] > 0);
  const rest = others.map((status) => ` · ${formatNumber(each.counts[status])} ${statusLabel(status)}`).join("");
  const summary = createElement(
    "summary",
    "",
    createElement("span", "cve-name", each.cve),
    priority,
    createElement("span", "muted", cveAge(each.published)),
    createElement("span", "cve-counts", open, createElement("span", "muted", rest)),
    bar,
  );
  const row = createElement("details", "cve", summary);
  row.addEventListener("toggle", () => row.append(cveDetails(each, data)), { once: true });
  return row;
}

/** @param {OpenCve} each @param {Vulnerabilities} data */
function cveDetails(each, data) {
  const content = createElement("div", "cve-details", copyButton("Copy as text", () => cveText(each, data)));
  for (const { evaluation, members } of orderedGroups(each, data)) content.append(cveGroup(evaluation, members));
  return content;
}

/** @param {OpenCve} each @param {Vulnerabilities} data */
function orderedGroups(each, data) {
  return each.groups
    .flatMap(([number, kinds]) => {
      const evaluation = data.evaluations[number];
      return evaluation ? [{ evaluation, members: hostsOfKinds(kinds, data) }] : [];
    })
    .sort(
      (first, second) =>
        CVE_STATUSES.indexOf(countedStatus(first.evaluation) ?? "open") -
          CVE_STATUSES.indexOf(countedStatus(second.evaluation) ?? "open") ||
        second.members.length - first.members.length,
    );
}

/** @param {CveEvaluation} evaluation */
function describeEvidence(evaluation) {
  const texts = [];
  if (evaluation.message) texts.push(evaluation.message);
  if (evaluation.state) texts.push(`state ${statusLabel(evaluation.state)}`);
  if (evaluation.evidence) texts.push(`shown by ${EVIDENCE_LABELS[evaluation.evidence]}`);
  if (evaluation.source_package) {
    texts.push(`source package ${evaluation.source_package}${evaluation.source_derived ? " (derived)" : ""}`);
  }
  if (evaluation.fixed_in) texts.push(`fixed in ${evaluation.fixed_in}`);
  if (evaluation.patch) texts.push(`live patch ${evaluation.patch}`);
  const waived = describeWaiver(evaluation);
  if (waived) texts.push(waived);
  return texts.join(" · ");
}

/** @param {CveEvaluation} evaluation */
function describeWaiver({ waived }) {
  return waived ? `waived until ${waived.expires} by ${waived.owner}: ${waived.reason}` : null;
}

/** @param {CveEvaluation} evaluation */
function evaluationLabel(evaluation) {
  const label = statusLabel(evaluation.status);
  return evaluation.waived ? `waived (${label})` : label;
}

/**
 * Return the next step for hosts. Its command names them if they are few, and their names have no meaning in a shell.
 * @param {CveEvaluation} evaluation @param {Host[]} members
 */
function stepFor({ next_step, step_for }, members) {
  const names = members.map(({ name }) => name);
  const isWritable = names.length <= MOST_NAMES_OF_A_STEP && names.every((name) => PLAIN_NAME.test(name));
  return isWritable && step_for ? step_for.replace("{hosts}", names.join(",")) : next_step;
}

/** @param {CveEvaluation} evaluation @param {Host[]} members */
function cveGroup(evaluation, members) {
  const label = createElement("span", "state", createElement("span", "mark"), evaluationLabel(evaluation));
  label.dataset.tone = CVE_TONES[countedStatus(evaluation) ?? "open"];
  const heading = createElement("h4", "", label, ` on ${formatCount(members.length, "host")}`);
  const group = createElement("section", "", heading, createElement("p", "muted", describeEvidence(evaluation)));
  const step = stepFor(evaluation, members);
  if (step) group.append(nextStepParagraph(step));
  const list = createElement("ul", "cve-hosts", ...members.slice(0, FIRST_HOSTS).map(hostItem));
  if (members.length > FIRST_HOSTS) {
    const rest = members.slice(FIRST_HOSTS);
    const item = createElement("li", "");
    item.append(createButton(`and ${formatNumber(rest.length)} more`, "plain", () => item.replaceWith(...rest.map(hostItem))));
    list.append(item);
  }
  group.append(list);
  return group;
}

/** @param {Host} host */
function hostItem(host) {
  const link = createElement("a", "", host.name);
  link.href = `#host=${encodeURIComponent(host.name)}`;
  return createElement("li", "", link);
}

/** @param {OpenCve} each @param {Vulnerabilities} data */
function cveText(each, data) {
  const lines = [
    `${each.cve} (${each.priority ?? "no priority"}, published ${each.published ?? "at an unknown date"})`,
    `${describeCounts(each.counts)} · all ${formatCount(hosts.length, "host")} · report of ${formatTime(generatedAt)}`,
  ];
  for (const { evaluation, members } of orderedGroups(each, data)) {
    lines.push("", `${evaluationLabel(evaluation)} on ${formatCount(members.length, "host")}: ${describeEvidence(evaluation)}`);
    const step = stepFor(evaluation, members);
    if (step) lines.push(`Next step: ${step}`);
    lines.push(`Hosts: ${members.map(({ name }) => name).join(", ")}`);
  }
  return lines.join("\n");
}

/**
 * Return the section of a host with its open vulnerabilities, or null without vulnerability data.
 * @param {Host} host
 */
function hostVulnerabilitiesSection(host) {
  const data = report.vulnerabilities;
  const kind = kindOfHost.get(host);
  if (!data || kind === undefined) return null;
  const items = data.cves.flatMap((each) => {
    const [number] = each.groups.find(([, kinds]) => kinds.includes(kind)) ?? [];
    const evaluation = number === undefined ? undefined : data.evaluations[number];
    return evaluation && ["open", "unknown"].includes(evaluation.status) ? [{ each, evaluation }] : [];
  });
  const open = items.filter(({ evaluation }) => evaluation.status === "open" && !evaluation.waived);
  const waived = items.filter(({ evaluation }) => evaluation.waived);
  const rows = [...open, ...waived].map(({ each, evaluation }) => [
    createSearchLink(each.cve, each.cve),
    each.priority ?? "unrated",
    each.published ?? "unknown",
    describeWaiver(evaluation) ?? createElement("span", "", ...stepNodes(stepFor(evaluation, [host]) ?? "")),
  ]);
  const unknown = items.length - open.length - waived.length;
  const note = createElement(
    "p",
    "muted",
    `Open: ${formatNumber(open.length)} · unknown: ${formatNumber(unknown)} · waived: ${formatNumber(waived.length)} · of ${formatNumber(data.cves.length)} that are open on any host`,
  );
  const content = rows.length > 0 ? [createTable(["CVE", "Priority", "Published", "Next step"], rows)] : [];
  return createSection("Vulnerabilities", note, ...content);
}

/**
 * Return the numbers of hosts by status of a vulnerability; null if the page does not have it.
 * @param {string} cve In upper case.
 */
function describeEvaluatedCve(cve) {
  const each = report.vulnerabilities?.cves.find((one) => one.cve === cve);
  return each ? `${cve}: ${describeCounts(each.counts)} · all ${formatCount(hosts.length, "host")}` : null;
}
