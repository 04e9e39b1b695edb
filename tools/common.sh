# Sourced by ./echo and by the scripts beside this file: where things are, how the scripts speak, what the
# system has. Everything here costs file tests only, since ./echo asks at every start.
# shellcheck shell=bash disable=SC2034

root=${BASH_SOURCE[0]%/*} && root=$(cd -- "$root/.." && pwd -P)
state=$root/.echo                       # all that set-up fetches; delete it to begin anew
build=$root/build
cuda=${ECHO_CUDA:-0}
cuda_library=
record=$state/libtorch.path             # the LibTorch that set-up chose

# Threads that wait for each other sleep. Where another program wants a core they would spin against it otherwise, and
# training becomes four to fifteen times slower.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

called=${ECHO_COMMAND:-./echo}          # what the person calls ./echo

say() { printf './echo: %s\n' "$*" >&2; }
fail() {  # fail CODE MESSAGE…: codes as the program's: 1 failed, 2 something is missing or wrongly asked
  local code=$1
  shift
  say "$*"
  exit "$code"
}

case $cuda in
  0) ;;
  1) build=$root/build-cuda cuda_library=lib/libtorch_cuda.so record=$state/libtorch-cuda.path ;;
  *) fail 2 "ECHO_CUDA=$ECHO_CUDA is neither 0 nor 1: ECHO_CUDA=1 asks for a build with CUDA, 0 or nothing for one without." ;;
esac

# One set-up or build at a time in this checkout. Held until release_lock or the end of the process.
take_lock() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock --nonblock 9 && return
  say "waiting: another ./echo is setting up or building here"
  flock 9
}
release_lock() { exec 9>&-; }

# The release as tools/packages writes it: debian-12, ubuntu-24.04.
release() {
  local ID=unknown VERSION_ID=
  # shellcheck source=/dev/null
  [[ -r /etc/os-release ]] && . /etc/os-release
  printf '%s-%s\n' "$ID" "$VERSION_ID"
}

# The compiler that configures a new build folder: CXX, else the oldest g++ that is new enough.
choose_compiler() {
  local name version
  compiler=${CXX-}
  [[ -n $compiler ]] && return
  for name in g++-12 g++-13 g++-14 g++-15 g++; do
    command -v "$name" > /dev/null || continue
    compiler=$name
    [[ $name == g++-* ]] && return
    version=$(g++ -dumpversion 2> /dev/null) && ((${version%%.*} >= 12)) && return
  done
  compiler=
  return 1
}

found() {  # found KIND:WHAT, the second column of tools/packages
  local kind=${1%%:*} what=${1#*:} folder
  local folders=()
  case $kind in
    compiler) choose_compiler ;;
    command) command -v "$what" > /dev/null ;;
    module) [[ -d /usr/lib/python3/dist-packages/$what ]] || python3 -m "$what" --version &> /dev/null ;;
    header)
      IFS=: read -ra folders <<< "${CPATH-}:${CONDA_PREFIX:+$CONDA_PREFIX/include}"
      for folder in /usr/include /usr/local/include "${folders[@]}"; do
        [[ -n $folder && -e $folder/$what ]] && return
      done
      return 1
      ;;
    script) [[ -d /usr/share/javascript/$what ]] ;;
    library) compgen -G "/usr/lib/llvm-14/lib/clang/*/lib/linux/lib$what*" > /dev/null ;;
  esac
}

# Calls FUNCTION group probe package purpose for each line of tools/packages in one of GROUPS.
each_package() {  # each_package FUNCTION GROUP…
  local function=$1 group probe package purpose
  shift
  while read -r group probe package purpose; do
    [[ " $* " == *" $group "* ]] && "$function" "$group" "$probe" "$package" "$purpose"
  done < "$root/tools/packages"
  return 0
}

# Sets `missing`: the packages (names as this release has them) of GROUPS that are not here.
find_missing() {
  missing=()
  each_package add_if_missing "$@"
}
add_if_missing() {
  local package=${3%%,*} here
  found "$2" && return
  if [[ $3 == *,* ]]; then
    here=$(release)
    [[ ,$3, == *",$here="* ]] && package=${3#*,"$here"=} && package=${package%%,*}
  fi
  missing+=("$package")
}

# Sets `libtorch` to the folder with include/ and lib/ inside FOLDER, or fails.
inside_libtorch() {
  for libtorch in "$1" "$1/torch" "$1/libtorch"; do
    is_libtorch "$libtorch" && return
  done
  libtorch=
  return 1
}
is_libtorch() {
  [[ -e $1/include/ATen/ATen.h && -e $1/lib/libtorch_cpu.so ]] || return 1
  [[ -z $cuda_library || -e $1/$cuda_library ]]
}

# Sets `libtorch` to the one in LIBTORCH_ROOT.
asked_libtorch() {
  local wanted=$LIBTORCH_ROOT
  [[ $wanted == /* ]] || wanted=$PWD/$wanted
  inside_libtorch "$wanted" && return
  fail 2 "LIBTORCH_ROOT=$LIBTORCH_ROOT is no LibTorch. Expected there, or in its torch/ or libtorch/:" \
    "include/ATen/ATen.h and lib/libtorch_cpu.so${cuda_library:+ and $cuda_library}, version 2.11 or newer." \
    "Unset LIBTORCH_ROOT and ./echo fetches one."
}

# Sets `libtorch` to the one that set-up chose; fails where it has to choose (again).
known_libtorch() {
  libtorch=
  [[ ! -r $record ]] || read -r libtorch < "$record"
  local chosen=$libtorch
  [[ -z ${LIBTORCH_ROOT-} ]] || asked_libtorch
  [[ -n $libtorch && $libtorch == "$chosen" ]] && is_libtorch "$libtorch"
}

# Prints the version of a LibTorch folder, such as 2.11.0.
libtorch_version() {
  local line
  if [[ -r $1/version.py ]]; then
    while read -r line; do
      [[ $line =~ ^__version__\ =\ \'([0-9.]+) ]] && printf '%s\n' "${BASH_REMATCH[1]}" && return
    done < "$1/version.py"
  elif [[ -r $1/build-version ]]; then
    read -r line < "$1/build-version"
    printf '%s\n' "${line%%+*}"
  fi
}

is_new_enough() { [[ $1 == [0-9]* && $(printf '%s\n' 2.11 "$1" | sort -V | head -n 1) == 2.11 ]]; }

# Sets `libtorch` to the torch of the caller's Python, found without importing it (that takes seconds).
python_libtorch() {
  local find='import importlib.util as u; print(*u.find_spec("torch").submodule_search_locations)' folder
  folder=$(python3 -c "$find" 2> /dev/null) && inside_libtorch "$folder" &&
    is_new_enough "$(libtorch_version "$libtorch")" && return
  libtorch=
  return 1
}

# Sets `toolkit`, the CUDA toolkit: CUDA_HOME, that of nvcc on PATH, /usr/local/cuda, or the one beside LibTorch.
find_toolkit() {
  local nvcc
  nvcc=$(command -v nvcc) && nvcc=$(readlink -f "$nvcc")
  for toolkit in "${CUDA_HOME-}" "${nvcc%/bin/nvcc}" /usr/local/cuda "$state/libtorch/nvidia/cu13"; do
    [[ -x $toolkit/bin/nvcc && -e $toolkit/include/cuda_runtime.h ]] && return
  done
  toolkit=
  return 1
}
