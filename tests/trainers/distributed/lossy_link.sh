#!/usr/bin/env bash
# Two ranks in network namespaces of their own, joined by a link that takes 1 ms and loses 1 % of all packets, give the
# bits of two ranks that share memory: lossy_link.sh PROGRAM. 77: it cannot be tried here.
set -euo pipefail
program=$(readlink -f -- "$1")
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

leave_out() { printf 'left out: %s\n' "$1" && exit 77; }
((EUID == 0)) || leave_out 'only root makes network namespaces'
for tool in ip mpirun python3; do
  command -v "$tool" > /dev/null || leave_out "there is no $tool here"
done
[[ -e /dev/net/tun ]] || leave_out 'there is no /dev/net/tun here'

first=echo-$$-1 second=echo-$$-2 folder=$(mktemp -d) relay='' stop=''
end() {
  [[ -z $stop ]] || exec {stop}>&-
  [[ -z $relay ]] || wait "$relay" || true
  ip netns delete "$first" 2> /dev/null || true
  ip netns delete "$second" 2> /dev/null || true
  rm -rf "$folder"
}
mkfifo "$folder/stop" "$folder/says"
trap end EXIT
if ! ip netns add "$first" 2> /dev/null || ! ip netns add "$second"; then
  leave_out 'network namespaces cannot be made here'
fi
python3 "$here/lossy_relay.py" "$first" 10.77.0.1/30 "$second" 10.77.0.2/30 0.001 0.01 \
  < "$folder/stop" > "$folder/says" 2>&1 &
relay=$!
exec {stop}> "$folder/stop"
read -r said < "$folder/says"
[[ $said == ready ]] || leave_out "$said"

# What mpirun starts on the other "machine".
printf '#!/bin/bash\nshift\nexec ip netns exec %s bash -c "$*"\n' "$second" > "$folder/agent"
chmod +x "$folder/agent"
cat > "$folder/r.yaml" << 'END'
name: small
model:
  width: 32
  mixers: {conv: {kind: short_conv}, recall: {kind: linear_attention, heads: 2}}
  blocks: [[conv, recall]]
task: {kind: mqar, length: 32, pairs: 4, vocabulary: 128, validation_samples: 20, test_samples: 12}
train:
  steps: 12
  batch: 6
  optimizer: {kind: adamw, peak_rate: 3e-3}
  schedule: {kind: cosine, warmup: 4}
END
cd "$folder"
"$program" train r.yaml --threads 1 --run near --ranks 2
ip netns exec "$first" mpirun --host 10.77.0.1:1,10.77.0.2:1 -n 2 --bind-to none --mca plm_rsh_agent "$folder/agent" \
  --mca btl self,tcp --mca btl_tcp_if_include 10.77.0.0/30 --mca oob_tcp_if_include 10.77.0.0/30 \
  "$program" train "$folder/r.yaml" --threads 1 --run "$folder/far"
for file in near/checkpoints/latest/model-*; do
  cmp "$file" "far/checkpoints/latest/$(basename "$file")"
done
printf 'the same bits\n'
