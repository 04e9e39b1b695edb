#!/usr/bin/env bash
# install_test.sh CMAKE BUILD: installs the build into a folder whose name has a space and runs the program from there.
set -euo pipefail
prefix=$(mktemp -d)/"an installed echo"
trap 'rm -rf "${prefix%/*}"' EXIT

"$1" --install "$2" --prefix "$prefix" > /dev/null
[[ ! -e $prefix/bin/echo ]] || { printf 'there is a file bin/echo: make and xargs would run it\n' && exit 1; }
for file in bin/echo-lm lib/libecho.so include/echo/mixer.h share/echo-lm/recipes/quickstart.yaml; do
  [[ -e $prefix/$file ]] || { printf 'missing: %s\n' "$file" && exit 1; }
done

cd /
"$prefix/bin/echo-lm" --version
# The built-in mixers are plugins; these must be the installed ones.
ls "$prefix/lib/echo-lm"
listed=$("$prefix/bin/echo-lm" mixers)
[[ $listed == *attention* ]] || { printf 'the installed program does not find its mixers: %s\n' "$listed" && exit 1; }
if readelf --dynamic "$prefix/bin/echo-lm" "$prefix/lib/libecho.so" | grep -E 'R(UN)?PATH' | grep --fixed-strings "$2"; then
  printf 'the installed files point into the build folder\n' && exit 1
fi
