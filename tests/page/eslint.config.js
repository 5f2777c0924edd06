// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors

import eslint from "@eslint/js";
import { defineConfig } from "eslint/config";
import typescript from "typescript-eslint";

export default defineConfig({
  files: ["page.js"],
  extends: [eslint.configs.recommended, typescript.configs.recommendedTypeChecked],
  languageOptions: { parserOptions: { project: "tsconfig.json", tsconfigRootDir: import.meta.dirname } },
  linterOptions: { reportUnusedDisableDirectives: "error" },
  rules: {
    complexity: ["error", 12],
    curly: ["error", "multi-line"],
    eqeqeq: "error",
    "max-lines-per-function": ["error", { max: 40, skipBlankLines: true, skipComments: true }],
    "no-else-return": "error",
    "no-eval": "error",
    "no-implicit-coercion": "error",
    "no-nested-ternary": "error",
    "no-shadow": "error",
    "no-undef": "off", // the type check knows the names of the browser, and reports all others
    "no-use-before-define": ["error", { functions: false, classes: true, variables: false }],
    "no-var": "error",
    "prefer-const": "error",
    "@typescript-eslint/switch-exhaustiveness-check": "off",
  },
});
