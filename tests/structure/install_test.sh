#!/usr/bin/env bash
# install_test.sh CMAKE BUILD: installs the build into a folder whose name has a space and runs the program from there.
set -euo pipefail
prefix=$(mktemp -d)/"an installed echo"
trap 'rm -rf "${prefix%/*}"' EXIT

"$1" --install "$2" --prefix "$prefix" > /dev/null
[[ ! -e $prefix/bin/echo ]] || { printf 'there is a file bin/echo: make and xargs would run it\n' && exit 1; }
for file in bin/echo-lm lib/libecho.so include/echo/mixer.h; do
  [[ -e $prefix/$file ]] || { printf 'missing: %s\n' "$file" && exit 1; }
done
diff <(ls "$2/lib/echo-lm") <(ls "$prefix/lib/echo-lm") || { printf 'other plugins than in the build\n' && exit 1; }

cd /
"$prefix/bin/echo-lm" --version
found=$("$prefix/bin/echo-lm" doctor)
[[ $found == *"$prefix/lib/echo-lm"* ]] || { printf 'its plugins are elsewhere:\n%s\n' "$found" && exit 1; }
if readelf --dynamic "$prefix/bin/echo-lm" "$prefix/lib/libecho.so" | grep -E 'R(UN)?PATH' | grep --fixed-strings "$2"; then
  printf 'the installed files point into the build folder\n' && exit 1
fi
