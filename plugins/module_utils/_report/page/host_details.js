// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The panel with everything that the report contains about one host.

class HostDetails {
  /**
   * @param {(position: number) => void} onOpen With the position of another host among the shown hosts.
   * @param {() => void} onClose
   */
  constructor(onOpen, onClose) {
    this.element = elementById("host", HTMLDialogElement);
    this.onOpen = onOpen;
    this.element.addEventListener("close", onClose);
    this.element.addEventListener("click", (event) => {
      const besideThePanel = event.target === this.element;
      if (besideThePanel) this.element.close();
    });
  }

  /**
   * @param {Host} host
   * @param {number} position Among the shown hosts, or -1 for a host that the filters hide.
   */
  show(host, position) {
    const focusedLabel = document.activeElement?.ariaLabel;
    const previous = createButton("‹", "plain", () => this.onOpen(position - 1));
    previous.ariaLabel = "Previous host";
    previous.disabled = position <= 0;
    const next = createButton("›", "plain", () => this.onOpen(position + 1));
    next.ariaLabel = "Next host";
    next.disabled = position < 0 || position >= view.hosts.length - 1;
    const close = createButton("✕", "plain", () => this.element.close());
    close.ariaLabel = "Close";
    const buttons = createElement("div", "steps", previous, next, close);
    const header = createElement("header", "", hostTitle(host), buttons);
    this.element.dataset.state = host.state;
    this.element.replaceChildren(header, createElement("div", "content", ...hostSections(host)));
    if (!this.element.open) this.element.showModal();
    // A reader who goes from host to host keeps the focus on the same button.
    const focused = [previous, next].find((button) => button.ariaLabel === focusedLabel && !button.disabled);
    (focused ?? close).focus();
    this.element.scrollTop = 0;
  }
}

/** @param {Host} host */
function hostTitle(host) {
  const name = createElement("h2", "", host.name);
  name.id = "host-name";
  const state = createElement("p", "", createStateLabel(host.state));
  if (host.record) state.append(createElement("span", "muted", `checked ${formatTime(host.record.collectedAt)}`));
  const copies = createElement("div", "copies", copyButton("Copy name", () => host.name));
  const step = host.assessment.reasons[0]?.remedy;
  if (step) copies.append(copyButton("Copy next step", () => step));
  if (PLAIN_NAME.test(host.name)) copies.append(copyButton("Copy --limit", () => `--limit '${host.name}'`));
  return createElement("div", "", name, state, copies);
}

/** @param {Host} host */
function hostSections(host) {
  /** @type {Node[]} */
  const sections = [createStateMeaning(host.state), messageList(host.assessment.reasons)];
  if (host.findings?.findings.length) sections.push(failedRulesSection(host.findings));
  if (host.findings?.waived.length) sections.push(waivedSection(host.findings));
  const vulnerabilities = hostVulnerabilitiesSection(host);
  if (vulnerabilities) sections.push(vulnerabilities);
  if (host.lastContact) sections.push(lastContactSection(host.lastContact));
  const groups = Object.entries(host.groups);
  if (groups.length > 0) sections.push(createSection("Groups", detailList(...groups)));
  if (host.record) {
    const { patch, patchRuns, modules, eligibility, client, system, collector } = host.record;
    const { collectedAt, bootedAt, lastCheck } = host.record;
    const origin = `Collected ${formatTime(collectedAt)} with kernelops.livepatch ${collector.collection}, ansible-core ${collector.ansible_core}.`;
    sections.push(
      patchSection(patch, patchRuns, host.assessment.reboot_needed),
      loadedPatchesSection(modules),
      eligibilitySection(eligibility),
      clientSection(client, lastCheck),
      systemSection(system, bootedAt),
      createElement("p", "muted", origin),
    );
  }
  return sections;
}

/** @param {string} title @param {Node[]} children */
function createSection(title, ...children) {
  return createElement("section", "", createElement("h3", "", title), ...children);
}

/** @typedef {[term: string, value: string | number | boolean | null, note?: string]} Detail */

/** @param {Detail[]} details */
function detailList(...details) {
  const list = createElement("dl", "");
  for (const [term, value, note] of details) {
    const known = value !== null && value !== "";
    const description = createElement("dd", known ? "" : "muted", known ? formatValue(value) : "unknown");
    if (known && note) description.append(createElement("span", "muted", note));
    list.append(createElement("div", "", createElement("dt", "", term), description));
  }
  return list;
}

/** @param {string | number | boolean} value */
function formatValue(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

/** @param {string} remedy */
function nextStepParagraph(remedy) {
  return createElement("p", "remedy", createElement("b", "", "Next step"), ...stepNodes(remedy));
}

/**
 * List messages, each with its next step and its id.
 * @param {{id: string, message: string, remedy: string | null}[]} messages
 */
function messageList(messages) {
  const items = messages.map(({ id, message, remedy }) => {
    const item = createElement("li", "", createElement("p", "", message));
    if (remedy) item.append(nextStepParagraph(remedy));
    item.append(createElement("code", "muted", id));
    return item;
  });
  return createElement("ul", "messages", ...items);
}

/** @param {Findings} part */
function failedRulesSection({ findings }) {
  const messages = findings.map((finding) => {
    const rule = report.rules.find(({ id }) => id === finding.rule);
    const id = rule ? `${rule.id} · ${rule.severity}` : finding.rule;
    return { id, message: finding.message, remedy: rule?.remedy ?? null };
  });
  return createSection("Failed rules", messageList(messages));
}

/** @param {Findings} part */
function waivedSection({ waived }) {
  const messages = waived.map(({ rule, message, waiver }) => ({ id: rule, message: `${message}. ${waiver}`, remedy: null }));
  return createSection("Waived rules", messageList(messages));
}

/** @param {LastContact} lastContact */
function lastContactSection({ attemptedAt, collectedAt, state }) {
  return createSection(
    "Last contact",
    detailList(
      ["Last attempt", formatTime(attemptedAt), formatAge(attemptedAt)],
      ["Last seen", formatTime(collectedAt), formatAge(collectedAt)],
      ["Last state", state && stateName(state)],
    ),
  );
}

/** @param {Patch} patch @param {boolean} patchRuns @param {boolean | null} rebootNeeded */
function patchSection(patch, patchRuns, rebootNeeded) {
  const cveLists = [];
  if (patch.open.length > 0) cveLists.push(...cveList("Not patched", "open", patch.open));
  if (patch.closed.length > 0) {
    const title = patchRuns ? "Patched" : "Patched according to the client, without evidence";
    cveLists.push(...cveList(title, patchRuns ? "closed" : "open", patch.closed));
  }
  if (cveLists.length === 0) {
    cveLists.push(createElement("p", "muted", "The client reports no CVEs for this patch."));
  }
  const upgradeBy = patch.upgrade_required_by;
  return createSection(
    "Patch",
    detailList(
      ["State", patch.state],
      ["Version", patch.version],
      ["Support", patch.support],
      ["Upgrade by", upgradeBy, isPastDate(upgradeBy) ? "overdue" : ""],
      ["Reboot", formatReboot(rebootNeeded)],
    ),
    ...cveLists,
  );
}

/** @param {boolean | null} needed */
function formatReboot(needed) {
  if (needed === null) return null;
  return needed ? "needed" : "not needed";
}

/** @param {string} title @param {string} className @param {string[]} cves */
function cveList(title, className, cves) {
  return [
    createElement("h4", className, createElement("span", "mark"), `${title}: ${formatNumber(cves.length)}`),
    createElement("ul", `cves ${className}`, ...cves.map((cve) => createElement("li", "", cve))),
  ];
}

/** @param {Modules} part */
function loadedPatchesSection({ modules }) {
  const cards = modules.map(loadedPatchCard);
  const none = createElement("p", "muted", "No live patch loaded.");
  return createSection("Loaded live patches", ...(cards.length > 0 ? cards : [none]));
}

/** @param {LoadedPatch} loaded */
function loadedPatchCard(loaded) {
  const { level, result, signer, key_id: keyId, sha512 } = loaded.verification;
  const outcome = detailList(
    ["Verification", result.replaceAll("_", " ")],
    ["Verified by", level],
    ["Signer", signer],
    ["Key ID", keyId],
    ["Build ID", loaded.build_id],
    ["SHA-512", sha512],
    ["Enabled", loaded.enabled],
    ["In transition", loaded.transition],
    ["Taint flags", loaded.taint],
  );
  const mark = createElement("span", "mark");
  const description = outcome.querySelector("dd");
  if (description) {
    description.dataset.status = { verified: "pass", failed: "fail" }[result] ?? "unknown";
    description.prepend(mark);
  }
  return createElement("div", "module", createElement("h4", "", createElement("code", "", loaded.module)), outcome);
}

/** @param {Eligibility} eligibility */
function eligibilitySection(eligibility) {
  const checks = checksOf(eligibility);
  const passed = checks.filter(({ status }) => status === "pass");
  const others = checks.filter(({ status }) => status !== "pass");
  const section = createSection(
    `Eligibility: ${eligibility.verdict}`,
    createElement("p", "muted", `Policy: ${eligibility.policy}`),
  );
  if (others.length > 0) section.append(createElement("ul", "checks", ...others.map(checkItem)));
  const summary = createElement("summary", "", `${formatCount(passed.length, "check")} passed`);
  section.append(createElement("details", "", summary, createElement("ul", "checks", ...passed.map(checkItem))));
  return section;
}

/** @param {EligibilityCheck} check */
function checkItem({ id, status, message, found, required, remedy }) {
  const text = createElement("div", "", createElement("p", "", message));
  if (status !== "pass") {
    const values = [];
    if (found) values.push(`found ${found}`);
    if (required) values.push(`required ${required}`);
    text.append(createElement("p", "muted", values.join(" · ")));
    if (remedy) text.append(nextStepParagraph(remedy));
  }
  const label = createElement("span", "status", createElement("span", "mark"), status);
  const item = createElement("li", "check", label, createElement("code", "muted", id), text);
  item.dataset.status = status;
  return item;
}

/** @param {Client} client @param {string | null} lastCheck */
function clientSection(client, lastCheck) {
  return createSection(
    "Client",
    detailList(
      ["Installed", client.installed],
      ["Enabled", client.enabled],
      ["Version", client.version],
      ["snapd version", client.snapd_version],
      ["Last check", formatTime(lastCheck), formatAge(lastCheck)],
      ["Check state", client.check_state],
      ["Tier", client.tier],
      ["Server", client.server],
    ),
  );
}

/** @param {System} system @param {string | null} bootedAt */
function systemSection(system, bootedAt) {
  const { kernel, containers, distribution, release, codename } = system;
  const counts = Object.entries(containers).filter(([, count]) => count !== null);
  return createSection(
    "System",
    detailList(
      ["Distribution", [distribution, release, codename].filter(Boolean).join(" ")],
      ["Architecture", system.architecture],
      ["Kernel", kernel.full || kernel.release],
      ["Kernel origin", kernel.origin],
      ["Kernel built", formatTime(kernel.build_date)],
      ["Newest kernel", kernel.newest_installed],
      ["Booted", formatTime(bootedAt), formatAge(bootedAt)],
      ["Virtualization", system.virtualization],
      ["Secure Boot", system.secure_boot],
      ["Containers", counts.map(([runtime, count]) => `${runtime} ${count}`).join(", ")],
    ),
  );
}
