#!/usr/bin/env bash
# package_test.sh CMAKE BUILD: what an author of plugins does, with nothing but an installed Echo in a folder whose
# name has a space: the example, a new plugin of each sort, its four commands; then the installation moves.
set -euo pipefail
cmake=$1 build=$2
unset CMAKE_PREFIX_PATH ECHO_PLUGINS ECHO_PLUGIN_FOLDER
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix="$work/opt/echo lm"
export PATH="$prefix/bin:$PATH" ECHO_COMMAND=echo-lm CMAKE_GENERATOR=Ninja
if command -v ccache > /dev/null; then
  # Paths below the working folder are cached without its name.
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
fi

fail() { printf '%s\n' "$*" && exit 1; }
expect() { [[ $2 == *"$1"* ]] || fail "expected '$1' in:"$'\n'"$2"; }
quietly() { "$@" > "$work/log" 2>&1 || { cat "$work/log" && fail "failed: $*"; }; }

quietly "$cmake" --install "$build" --prefix "$prefix"
cd "$work"

printf 'the page for authors leads to files that are there\n'
page=$prefix/share/echo-lm/plugins.md
mapfile -t links < <(sed 's/](/\n](/g' "$page" | sed -n 's/^](\([^)#:]*\)).*/\1/p')
((${#links[@]} > 5)) || fail "the page has only ${#links[@]} links"
for link in "${links[@]}"; do
  [[ -e ${page%/*}/$link ]] || fail "$page leads to $link, which is not there"
done

printf 'the example, from the installed package alone\n'
cp -R "$prefix/share/echo-lm/example" example
quietly "$cmake" -S example -B example/build -DCMAKE_PREFIX_PATH="$prefix"
quietly "$cmake" --build example/build
for case in based_layer based_b; do
  quietly echo-lm mixers --verify "example/golden/$case.safetensors" --mixer example/based --plugin example/build/example.so
  expect 'passes' "$(< log)"
done
quietly echo-lm plugin check example/build/example.so
quietly echo-lm train example/recipe.yaml --set train.steps=2 --set train.batch=2 --set evaluate.every=2 --run runs/example

for sort in mixer task optimizer schedule; do
  printf 'a new %s: the four commands that are printed\n' "$sort"
  option=()
  [[ $sort == mixer ]] || option=("--$sort")
  quietly echo-lm plugin new "my_$sort" "${option[@]}"
  mapfile -t commands < <(sed -n 's/^  //p' log)
  ((${#commands[@]} == 3)) || fail "not three commands: $(< log)"
  quietly bash -c "${commands[0]}"
  quietly bash -c "${commands[1]}"
  expect 'load' "$(< log)"
  [[ ${commands[2]} == *" train my_$sort/recipe.yaml" ]] || fail "the last command is: ${commands[2]}"
  quietly bash -c "${commands[2]} --set train.steps=20 --set train.checkpoint.every=10 --run runs/my_$sort"
  [[ -e runs/my_$sort/report.html ]] || fail "the run has no report"
  quietly ctest --test-dir "my_$sort/build" --output-on-failure
done

printf 'where kinds come from\n'
library=$work/my_task/build/my_task.so
expect "my_task/copy" "$(echo-lm tasks --plugin "$library" 2> log)"
expect "$library" "$(echo-lm tasks my_task/copy --plugin "$library" 2> log)"
expect '"my_task/copy"' "$(echo-lm schema --plugin "$library" 2> log)"

printf 'the installation moves\n'
mv "$prefix" "$work/elsewhere"
export PATH="$work/elsewhere/bin:$PATH"
quietly echo-lm plugin check my_mixer/build/my_mixer.so --only load --only split
quietly "$cmake" -S my_mixer -B again -DCMAKE_PREFIX_PATH="$work/elsewhere"
quietly "$cmake" --build again
quietly echo-lm plugin check again/my_mixer.so --only load
