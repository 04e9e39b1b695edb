#!/usr/bin/env bash
# Fuzzes the reader of notes: fuzz.sh SOURCE_DIR BUILD_DIR SECONDS. What it finds stays in BUILD_DIR/fuzz; the corpus of the
# sources is only read. Skips (77) where clang with libFuzzer is missing.
set -euo pipefail
source=$1 build=$2/fuzz seconds=$3
compiler=${ECHO_FUZZ_COMPILER:-clang++-14}
mkdir -p "$build/found" "$build/corpus"

flags=(-std=c++20 -O1 -g "-fsanitize=fuzzer,address,undefined" -fno-sanitize-recover=undefined
  -I "$source" -I "$source/framework/include")
printf 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n' > "$build/empty.cpp"
if ! "$compiler" "${flags[@]}" "$build/empty.cpp" -o "$build/empty" 2> "$build/why"; then
  printf 'skipped: %s cannot link -fsanitize=fuzzer: %s\n' "$compiler" "$(head -1 "$build/why")"
  exit 77
fi

"$compiler" "${flags[@]}" -o "$build/note_fuzzer" "$source/tests/bad_plugins/fuzz/note_fuzzer.cpp" \
  "$source/framework/src/plugin/note.cpp" "$source/framework/src/plugin/library_file.cpp" "$source/framework/src/error.cpp"
"$build/note_fuzzer" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="$build/found/" "$build/corpus" "$source/tests/bad_plugins/fuzz/corpus"
