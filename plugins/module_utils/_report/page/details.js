// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// All that the report holds of one host.

const YES_NO = new Map([[true, "yes"], [false, "no"]]);

function section(title, ...children) {
  return make("section", "", make("h3", "", title), ...children);
}

function pairs(...entries) {
  const list = make("dl");
  for (const [term, value, quiet] of entries) {
    const known = value !== null && value !== undefined && value !== "";
    const description = make("dd", known ? "" : "quiet", known ? (YES_NO.get(value) ?? String(value)) : "not known");
    if (known && quiet) description.append(make("span", "quiet", quiet));
    list.append(make("div", "", make("dt", "", term), description));
  }
  return list;
}

function why(host) {
  const list = make("ul", "reasons");
  for (const reason of host.assessment.reasons) {
    const item = make("li", "", make("p", "", reason.message));
    if (reason.remedy) item.append(make("p", "remedy", make("b", "", "Next step"), reason.remedy));
    item.append(make("code", "quiet", reason.id));
    list.append(item);
  }
  return list;
}

function brokenRules(host) {
  const list = make("ul", "reasons");
  for (const finding of host.findings) {
    const rule = fleet.rules.find((each) => each.id === finding.rule);
    const item = make("li", "", make("p", "", finding.message));
    if (rule?.remedy) item.append(make("p", "remedy", make("b", "", "Next step"), rule.remedy));
    item.append(make("code", "quiet", rule ? `${finding.rule} · ${rule.severity}` : finding.rule));
    list.append(item);
  }
  return list;
}

function check(each) {
  const item = make("li", "check");
  item.dataset.status = each.status;
  item.append(make("span", "status", make("span", "mark"), each.status), make("code", "quiet", each.id));
  const text = make("div", "", make("p", "", each.message));
  if (each.status !== "pass") {
    const wanted = [each.found && `found ${each.found}`, each.required && `required ${each.required}`];
    text.append(make("p", "quiet", wanted.filter(Boolean).join(" · ")));
    if (each.remedy) text.append(make("p", "remedy", make("b", "", "Next step"), each.remedy));
  }
  item.append(text);
  return item;
}

function checks(host) {
  const { policy, verdict } = host.eligibility;
  const passed = host.checks.filter((each) => each.status === "pass");
  const others = host.checks.filter((each) => each.status !== "pass");
  const list = make("ul", "checks", ...others.map(check));
  const folded = make("details", "", make("summary", "", `${count(passed.length, "check")} passed`));
  folded.append(make("ul", "checks", ...passed.map(check)));
  const title = `Eligibility: ${verdict}`;
  return section(title, make("p", "quiet", `by the policy ${policy}`), ...(others.length ? [list] : []), folded);
}

function vulnerabilities({ open, closed }) {
  const lists = [["Not yet patched", open, "open"], ["Patched", closed, "closed"]].filter(([, cves]) => cves.length);
  return lists.flatMap(([title, cves, className]) => [
    make("h4", className, make("span", "mark"), `${title}: ${number(cves.length)}`),
    make("ul", `cves ${className}`, ...cves.map((cve) => make("li", "", cve))),
  ]);
}

const RESULT_STATUS = { verified: "pass", failed: "fail" };

function evidence(module) {
  const { level, result, signer, key_id: key, sha512 } = module.verification;
  const card = make("div", "module", make("h4", "", make("code", "", module.module)));
  card.append(
    pairs(
      ["Result", result.replaceAll("_", " ")],
      ["Witness", level],
      ["Signer", signer],
      ["Key", key],
      ["Build id", module.build_id],
      ["SHA-512", sha512],
      ["Enabled", module.enabled],
      ["In transition", module.transition],
      ["Taint", module.taint],
    ),
  );
  const shown = card.querySelector("dd");
  shown.dataset.status = RESULT_STATUS[result] ?? "unknown";
  shown.prepend(make("span", "mark"));
  return card;
}

function recordSections(host) {
  const { system, client, patch, collector } = host;
  const { kernel, containers } = system;
  const running = Object.entries(containers).filter(([, times]) => times !== null);
  const { reboot_needed: rebootNeeded } = host.assessment;
  const fixes = patch.open.length + patch.closed.length;
  return [
    section(
      "Patch",
      pairs(
        ["State", patch.state],
        ["Version", patch.version],
        ["Support", patch.support],
        ["Upgrade by", patch.upgrade_required_by, isPast(patch.upgrade_required_by) ? "past" : ""],
        ["Reboot", rebootNeeded === null ? null : rebootNeeded ? "needed" : "not needed"],
      ),
      ...(fixes ? vulnerabilities(patch) : [make("p", "quiet", "The client names no vulnerability.")]),
    ),
    section(
      "Patches in the kernel",
      ...(host.modules.length ? host.modules.map(evidence) : [make("p", "quiet", "None is seen.")]),
    ),
    checks(host),
    section(
      "Client",
      pairs(
        ["Installed", client.installed],
        ["Enabled", client.enabled],
        ["Version", client.version],
        ["snapd", client.snapd_version],
        ["Last check", moment(host.lastCheck), age(host.lastCheck)],
        ["Check", client.check_state],
        ["Tier", client.tier],
        ["Server", client.server],
      ),
    ),
    section(
      "System",
      pairs(
        ["Distribution", [system.distribution, system.release, system.codename].filter(Boolean).join(" ")],
        ["Architecture", system.architecture],
        ["Kernel", kernel.full || kernel.release],
        ["Built by", kernel.origin],
        ["Kernel built", moment(kernel.build_date)],
        ["Newest installed", kernel.newest_installed],
        ["Booted", moment(host.bootedAt), age(host.bootedAt)],
        ["Virtualization", system.virtualization],
        ["Secure Boot", system.secure_boot],
        ["Containers", running.map(([runtime, times]) => `${runtime} ${times}`).join(", ")],
      ),
    ),
    make(
      "p",
      "quiet",
      `Collected ${moment(host.collectedAt)} with kernelops.livepatch ${collector.collection}, ` +
        `ansible-core ${collector.ansible_core}.`,
    ),
  ];
}

function lastSeen(host) {
  return section(
    "Times",
    pairs(
      ["Last attempt", moment(host.attemptedAt), age(host.attemptedAt)],
      ["Last seen", moment(host.collectedAt), age(host.collectedAt)],
      ["Last state", host.lastState],
    ),
  );
}

class Details {
  constructor({ onClose, onStep }) {
    this.element = document.getElementById("host");
    this.onStep = onStep;
    this.element.addEventListener("close", onClose);
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close(); // beside the panel
    });
  }

  // `place` is that among the hosts that are shown, -1 for a host that the filters hide.
  show(host, place) {
    const name = make("h2", "", host.name);
    name.id = "host-name";
    const previous = button("‹", "plain", () => this.onStep(place - 1));
    const next = button("›", "plain", () => this.onStep(place + 1));
    previous.setAttribute("aria-label", "Previous host");
    next.setAttribute("aria-label", "Next host");
    previous.disabled = place <= 0;
    next.disabled = place < 0 || place >= view.shown.length - 1;
    const close = button("✕", "plain", () => this.element.close());
    close.setAttribute("aria-label", "Close");
    const seen = host.recorded ? `seen ${moment(host.collectedAt)}` : "";
    const head = make("header", "", make("div", "", name, make("p", "", stateWord(host.state), make("span", "quiet", seen))));
    head.append(make("div", "steps", previous, next, close));
    const content = make("div", "content", why(host));
    if (host.findings.length) content.append(section("Broken rules", brokenRules(host)));
    content.append(...(host.recorded ? recordSections(host) : [lastSeen(host)]));
    const focused = document.activeElement?.getAttribute("aria-label");
    this.element.replaceChildren(head, content);
    if (this.element.open) {
      const again = [previous, next].find((each) => each.getAttribute("aria-label") === focused);
      (again && !again.disabled ? again : close).focus();
    } else {
      this.element.showModal();
      close.focus();
    }
    this.element.scrollTop = 0;
  }
}
