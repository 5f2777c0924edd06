// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

// The states of hosts: names and explanations for readers, and the tone of each.

const GUIDE_TO_STATES = "https://github.com/kernelops/livepatch/blob/main/docs/guide/states.md";

/** @type {Record<State, {name: string, tone: Tone, meaning: string}>} */
const STATE_TEXTS = {
  no_answer: { name: "No answer", tone: "unknown", meaning: "There is no record of this host from this run." },
  tampered: {
    name: "Tampered",
    tone: "bad",
    meaning: "A live patch is loaded that no trusted key has signed. Nothing that the host reports can be relied on.",
  },
  ineligible: {
    name: "Not eligible",
    tone: "excluded",
    meaning: "No setting on this system makes it eligible for live patches. It is not counted among the eligible hosts.",
  },
  held_back: { name: "Held back", tone: "action", meaning: "A setting of the client withholds patches from the host." },
  failed: { name: "Failed", tone: "bad", meaning: "The client cannot apply patches, or cannot get them." },
  end_of_life: { name: "End of life", tone: "bad", meaning: "The running kernel does not get patches any more." },
  upgrade_required: {
    name: "Upgrade required",
    tone: "action",
    meaning: "Only a newer kernel and a reboot fix the remaining vulnerabilities.",
  },
  disabled: { name: "Not enabled", tone: "action", meaning: "The host could get live patches, but is not enrolled." },
  stale: { name: "Stale", tone: "action", meaning: "The client has not checked for patches for too long." },
  applying: { name: "Applying", tone: "pending", meaning: "A patch is being applied. Nothing has to be done yet." },
  unverified: {
    name: "Unverified",
    tone: "pending",
    meaning: "The client reports a patch, and neither the kernel nor a signature confirms it.",
  },
  exposed: {
    name: "Exposed",
    tone: "bad",
    meaning: "Live patching works, and the vulnerability data shows a vulnerability that is open on the host.",
  },
  unknown: { name: "Unknown", tone: "unknown", meaning: "What the host reported is not enough to judge it." },
  protected: {
    name: "Protected",
    tone: "good",
    meaning: "The newest live patch runs and is confirmed, or there is nothing to patch on a supported kernel.",
  },
};

/** @type {Tone[]} The order of colours in a bar. */
const TONE_ORDER = ["good", "pending", "action", "bad", "excluded", "unknown"];

/** @param {State} state */
function stateName(state) {
  return STATE_TEXTS[state].name;
}

/** @param {State} state */
function stateTone(state) {
  return STATE_TEXTS[state].tone;
}

/** @param {State} state */
function createStateLabel(state) {
  const label = createElement("span", "state", createElement("span", "mark"), stateName(state));
  label.dataset.tone = stateTone(state);
  label.title = STATE_TEXTS[state].meaning;
  return label;
}

/**
 * Return the meaning of a state, with a link to the guide.
 * @param {State} state
 */
function createStateMeaning(state) {
  const link = createElement("a", "", "All states in the guide");
  link.href = GUIDE_TO_STATES;
  return createElement("p", "muted meaning", `${STATE_TEXTS[state].meaning} `, link);
}
