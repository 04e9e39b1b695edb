#!/usr/bin/env bash
# shellcheck disable=SC2016
# Tests of ./echo and tools/: launcher_test.sh NAME runs the function test_NAME in a folder of its own. The launcher is
# tried on a small stand-in of the checkout: a program of a few lines, a LibTorch of empty files, and where needed its
# own apt-get and pip, so nothing is installed and nothing big is built.
set -uo pipefail

source_folder=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
checkout="$scratch/a check out"
fakes=$scratch/fakes  # commands that come first on PATH
out=$scratch/out err=$scratch/err code=0
unset ECHO_CUDA ECHO_COMMAND ECHO_LAUNCHER CXX CPATH CONDA_PREFIX PYTHONPATH

give_up() {
  printf 'failed: %s\nexit code: %s\nstdout: %s\nstderr: %s\n' "$*" "$code" "$(< "$out")" "$(< "$err")"
  exit 1
}
run() { "$@" > "$out" 2> "$err" < /dev/null && code=0 || code=$?; }
expect_code() { ((code == $1)) || give_up "expected the exit code $1"; }
expect_out() { [[ $(< "$out") == *"$1"* ]] || give_up "expected on stdout: $1"; }
expect_err() { [[ $(< "$err") == *"$1"* ]] || give_up "expected on stderr: $1"; }
expect_no_err() { [[ $(< "$err") != *"$1"* ]] || give_up "not expected on stderr: $1"; }
expect_file() { [[ -e $1 ]] || give_up "expected the file $1"; }

make_libtorch() {  # make_libtorch FOLDER VERSION
  mkdir -p "$1/torch/include/ATen" "$1/torch/lib"
  touch "$1/torch/include/ATen/ATen.h" "$1/torch/lib/libtorch_cpu.so" "$1/torch/__init__.py"
  printf "__version__ = '%s+cu130'\n" "$2" > "$1/torch/version.py"
}

make_checkout() {
  mkdir -p "$checkout" "$fakes"
  cp -R "$source_folder/echo" "$source_folder/tools" "$checkout"
  cat > "$checkout/CMakeLists.txt" << 'END'
cmake_minimum_required(VERSION 3.22)
project(StandIn LANGUAGES CXX)
add_executable(echo-lm main.cpp)
set_target_properties(echo-lm PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
END
  cat > "$checkout/main.cpp" << 'END'
#include <cstdio>
int main(int count, char** words) {
  for (int i = 1; i < count; ++i) std::printf("[%s]", words[i]);
  return count > 1 && words[1][0] == 'f' ? 75 : 0;
}
END
  make_libtorch "$scratch/libtorch" 2.11.0
  export LIBTORCH_ROOT=$scratch/libtorch
  PATH=$fakes:$PATH
}

make_command() {  # make_command NAME < SCRIPT
  { printf '#!/usr/bin/env bash\n' && cat; } > "$fakes/$1"
  chmod +x "$fakes/$1"
}

# A package that is missing until the stand-in of apt-get installs it.
need_a_package() {
  printf 'build command:echo-test-command echo-test-package a test\n' >> "$checkout/tools/packages"
}

test_runs_the_program_with_its_words_and_exit_code() {
  run "$checkout/echo" fails 'two words' '*'
  expect_code 75
  [[ $(< "$out") == '[fails][two words][*]' ]] || give_up "stdout holds more than the program's"
}

test_runs_through_a_symbolic_link_from_another_folder() {
  ln -s "$checkout/echo" "$scratch/link"
  cd / && run "$scratch/link" here
  expect_code 0
  expect_out '[here]'
}

test_says_nothing_when_nothing_changed() {
  run "$checkout/echo" first
  expect_err 'building'
  run "$checkout/echo" second
  [[ ! -s $err ]] || give_up "stderr should be empty"
  local begin=${EPOCHREALTIME/./}
  run "$checkout/echo" third
  printf 'the launcher took %s ms, nothing to do\n' "$(((${EPOCHREALTIME/./} - begin) / 1000))"
}

test_builds_again_when_a_source_changed() {
  run "$checkout/echo" first
  sed -i 's/\[%s\]/<%s>/' "$checkout/main.cpp"
  run "$checkout/echo" second
  expect_out '<second>'
}

test_shows_the_compilers_errors_and_the_log() {
  printf 'int broken = "text";\n' >> "$checkout/main.cpp"
  run "$checkout/echo" words
  expect_code 1
  expect_err 'invalid conversion'
  expect_err "the build failed (log: $checkout/build/build.log)"
  [[ ! -s $out ]] || give_up "stdout should be empty"
}

test_shows_the_errors_of_cmake() {
  printf 'find_package(NoSuchLibrary REQUIRED)\n' >> "$checkout/CMakeLists.txt"
  run "$checkout/echo" words
  expect_code 1
  expect_err NoSuchLibrary
}

test_configures_again_after_an_interrupted_configuration() {
  run "$checkout/echo" words
  rm "$checkout/build/configured"
  printf 'broken' > "$checkout/build/CMakeCache.txt"
  run "$checkout/echo" words
  expect_code 0
}

test_builds_again_after_the_checkout_moved() {
  run "$checkout/echo" words
  mv "$checkout" "$scratch/moved here"
  run "$scratch/moved here/echo" words
  expect_code 0
  expect_out '[words]'
}

test_several_at_once_wait_for_each_other() {
  local number pids=()
  for number in 1 2 3 4; do
    "$checkout/echo" "$number" > "$scratch/out$number" 2> "$scratch/err$number" &
    pids+=($!)
  done
  for number in 1 2 3 4; do
    wait "${pids[number - 1]}" || give_up "number $number failed: $(< "$scratch/err$number")"
    [[ $(< "$scratch/out$number") == "[$number]" ]] || give_up "number $number printed something else"
  done
}

test_prints_the_packages_without_root() {
  need_a_package
  make_command id <<< 'printf "1000\n"'
  make_command apt-get <<< 'exit 1'
  make_command sudo <<< 'exit 1'
  run "$checkout/echo" words
  expect_code 2
  expect_err 'sudo apt-get install --no-install-recommends echo-test-package'
}

test_prints_the_packages_without_apt() {
  need_a_package
  ln -s /usr/bin/* "$fakes"
  rm -f "$fakes/apt-get"
  PATH=$fakes run "$checkout/echo" words
  expect_code 2
  expect_err echo-test-package
}

test_says_what_it_installs_before_it_does() {
  need_a_package
  make_command id <<< 'printf "0\n"'
  make_command apt-get << END
[[ \$* != *install* ]] || cp "$err" "$scratch/said before"
[[ \$* != *install* || \$* != *echo-test-package* ]] || cp /bin/true "$fakes/echo-test-command"
END
  run "$checkout/echo" words
  expect_code 0
  expect_out '[words]'
  grep -q 'will install with apt-get: .*echo-test-package' "$scratch/said before" || give_up "not said before"
  run "$checkout/echo" words
  [[ ! -s $err ]] || give_up "stderr should be empty once it is installed"
}

test_finishes_an_installation_that_was_killed() {
  need_a_package
  make_command id <<< 'printf "0\n"'
  # The package's command is there already when apt-get dies, together with the set-up.
  make_command apt-get << END
[[ \$* != *install* ]] && exit
cp /bin/true "$fakes/echo-test-command"
kill -9 \$PPID
END
  run "$checkout/echo" words
  ((code != 0)) || give_up "expected a failure"
  make_command apt-get <<< "printf '%s\n' \"\$*\" >> '$scratch/calls'"
  run "$checkout/echo" words
  expect_code 0
  grep -q 'install .*echo-test-package' "$scratch/calls" || give_up "apt-get was not called again"
}

test_names_the_packages_that_apt_could_not_install() {
  need_a_package
  make_command id <<< 'printf "0\n"'
  make_command dpkg <<< 'exit 0'
  make_command apt-get <<< 'printf "no such package here\n"; exit 100'
  run "$checkout/echo" words
  expect_code 1
  expect_err 'no such package here'
  expect_err 'apt-get could not install: echo-test-package'
}

test_explains_a_libtorch_root_that_is_none() {
  LIBTORCH_ROOT=$scratch run "$checkout/echo" words
  expect_code 2
  expect_err "LIBTORCH_ROOT=$scratch is no LibTorch"
  expect_err 'lib/libtorch_cpu.so'
  expect_err 'version 2.11 or newer'
}

test_refuses_an_old_libtorch() {
  make_libtorch "$scratch/old" 2.9.1
  LIBTORCH_ROOT=$scratch/old run "$checkout/echo" words
  expect_code 2
  expect_err 'is version 2.9.1; Echo needs 2.11 or newer'
}

test_takes_the_torch_of_python() {
  command -v python3 > /dev/null || { printf 'skipped: no python3\n' && exit 77; }
  unset LIBTORCH_ROOT
  PYTHONPATH=$scratch/libtorch run "$checkout/echo" words
  expect_code 0
  grep -q "LIBTORCH_ROOT=$scratch/libtorch/torch" "$checkout/build/configured" || give_up "another LibTorch was taken"
}

test_keeps_the_libtorch_that_was_named_once() {
  run "$checkout/echo" words
  unset LIBTORCH_ROOT
  run "$checkout/echo" words
  expect_code 0
  [[ ! -s $err ]] || give_up "stderr should be empty"
}

# A stand-in of Python whose pip brings small wheels; everything else goes to the real one.
make_pip() {  # make_pip DOES, a command that runs before the wheels are there
  command -v python3 > /dev/null || { printf 'skipped: no python3\n' && exit 77; }
  unset LIBTORCH_ROOT
  (cd "$scratch/libtorch" && python3 -m zipfile -c "$scratch/torch-2.11.0.whl" torch)
  export PYTHON=$fakes/python
  make_command python << END
if [[ \$* == '-m pip download'* ]]; then
  while [[ \$1 != --dest ]]; do shift; done
  mkdir -p "\$2" && printf 'half a wheel' > "\$2/torch-2.11.0.whl"
  $1
  cp "$scratch/torch-2.11.0.whl" "\$2"
else
  exec python3 "\$@"
fi
END
}

test_fetches_libtorch_after_saying_so() {
  make_pip ''
  run "$checkout/echo" words
  expect_code 0
  expect_err 'from PyPI into .echo/libtorch: torch==2.11.0'
  expect_file "$checkout/.echo/libtorch/torch/include/ATen/ATen.h"
  [[ ! -e $checkout/.echo/libtorch.new ]] || give_up "the download was left behind"
}

test_repairs_a_download_that_was_killed() {
  make_pip 'kill -9 $PPID; exit 1'
  run "$checkout/echo" words
  ((code != 0)) || give_up "expected a failure"
  [[ ! -e $checkout/.echo/libtorch ]] || give_up "half a LibTorch is in place"
  make_pip ''
  run "$checkout/echo" words
  expect_code 0
  expect_file "$checkout/.echo/libtorch/torch/include/ATen/ATen.h"
}

test_says_what_to_do_when_the_download_fails() {
  make_pip 'exit 1'
  run "$checkout/echo" words
  expect_code 1
  expect_err 'LIBTORCH_ROOT=FOLDER ./echo'
}

test_fetches_the_text_that_a_recipe_names() {
  mkdir "$checkout/recipes"
  printf 'task: {kind: language_model, text: ../.echo/data/some.txt}\n' > "$checkout/recipes/base.yaml"
  printf 'extends: base.yaml\n' > "$checkout/recipes/extended.yaml"
  printf '#!/bin/sh\necho "fetched $1" >&2\n' > "$checkout/tools/fetch_text"
  cd "$checkout" || exit 1
  run ./echo train recipes/extended.yaml
  expect_err 'fetched some.txt'
  run ./echo train recipes/extended.yaml --set task.text=/etc/hostname
  expect_no_err fetched
  run ./echo recipe recipes/extended.yaml
  expect_no_err fetched
}

test_refuses_an_echo_cuda_that_is_neither_0_nor_1() {
  local value
  for value in yes true 2; do
    ECHO_CUDA=$value run "$checkout/echo" words
    expect_code 2
    expect_err "ECHO_CUDA=$value is neither 0 nor 1"
  done
  [[ ! -e $checkout/build && ! -e $checkout/build-cuda ]] || give_up "something was built"
  ECHO_CUDA='' run "$checkout/echo" words
  expect_code 0
}

test_helps_with_test_and_doctor_and_builds_nothing() {
  local name words
  for name in test doctor; do
    for words in "$name --help" "$name -h" "help $name"; do
      # shellcheck disable=SC2086
      COLUMNS=60 run "$checkout/echo" $words
      expect_code 0
      expect_out 'Usage:'
      expect_out 'Examples:'
      [[ ! -s $err ]] || give_up "stderr should be empty"
    done
  done
  run "$checkout/echo" test --label fast --help
  expect_out '--label L'
  [[ ! -e $checkout/build ]] || give_up "something was built"
}

test_is_called_what_the_person_called_it() {
  printf 'int main() { return std::puts(std::getenv("ECHO_COMMAND")) < 0; }\n' |
    sed '1i #include <cstdio>\n#include <cstdlib>' > "$checkout/main.cpp"
  cd "$checkout" && run ./echo words
  [[ $(< "$out") == ./echo ]] || give_up "expected ./echo"
  ECHO_COMMAND="echo" run "$checkout/echo" words
  [[ $(< "$out") == echo ]] || give_up "expected the name that the shell function gives"
  run "$checkout/echo" words
  [[ $(< "$out") == *'/a\ check\ out/echo' ]] || give_up "expected a path for a shell"
}

test_knows_only_its_texts() {
  run "$checkout/tools/fetch_text" nothing.txt
  expect_code 2
  expect_err "no text is called 'nothing.txt'"
  expect_err bible-kjv.txt
}

test_doctor_works_before_anything_is_built() {
  need_a_package
  run "$checkout/echo" doctor
  expect_code 0
  expect_out 'found    cmake'
  expect_out 'missing  echo-test-command'
  expect_out '2.11.0 in'
  expect_out 'not built yet'
  [[ ! -e $checkout/build ]] || give_up "doctor built something"
}

test_doctor_prints_json() {
  command -v python3 > /dev/null || { printf 'skipped: no python3\n' && exit 77; }
  run "$checkout/echo" doctor --json
  expect_code 0
  python3 -c 'import json, sys; assert {"status", "name", "detail", "gives", "get"} <= set(json.load(sys.stdin)["checks"][0])' \
    < "$out" || give_up "not the JSON that was expected"
}

test_doctor_rejects_an_unknown_option() {
  run "$checkout/echo" doctor --unknown
  expect_code 2
  expect_err "unknown option '--unknown'"
}

make_checkout
"test_$1"
