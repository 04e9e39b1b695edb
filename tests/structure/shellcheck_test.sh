#!/usr/bin/env bash
# Passes when shellcheck finds nothing in the project's shell scripts; skipped where there is no shellcheck.
set -euo pipefail
command -v shellcheck > /dev/null || { printf 'skipped: no shellcheck here\n' && exit 77; }
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
scripts=()
while IFS= read -r file; do
  read -r first < "$file" || continue
  [[ $first != '#!'*bash* && $file != *.sh ]] || scripts+=("$file")
done < <(find echo tools tests .ci -type f)
((${#scripts[@]} > 0))
shellcheck --external-sources "${scripts[@]}"
