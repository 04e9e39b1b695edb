#include <echo/members.h>

#include <algorithm>
#include <numeric>

namespace echo {

namespace {

template <class F>
auto with_path(const std::string& path, F&& work) {
  try {
    return work();
  } catch (const FieldError& mistake) {
    throw FieldError(mistake.field().empty() ? path : path + "." + mistake.field(), mistake.what());
  }
}

std::string prefix_of(size_t n) { return std::to_string(n) + "."; }

State part_of(const State& state, const std::string& prefix) {
  State part(state.batch(), state.device());
  part.set_position(state.position(), state.longest());
  for (auto entry = state.entries().lower_bound(prefix);
       entry != state.entries().end() && entry->first.starts_with(prefix); ++entry) {
    const StateEntry& value = entry->second;
    part.add(entry->first.substr(prefix.size()), value.value, value.role, value.ring);
  }
  return part;
}

void set_part(State& state, const std::string& prefix, const State& part) {
  std::vector<std::string> gone;  // derived data that the mixer has dropped
  for (const auto& [name, entry] : state.entries()) {
    if (name.starts_with(prefix) && !part.has(name.substr(prefix.size()))) gone.push_back(name);
  }
  for (const std::string& name : gone) state.remove(name);
  for (const auto& [name, entry] : part.entries())
    state.add(prefix + name, entry.value, entry.role, entry.ring);
}

}  // namespace

MixerChoice::MixerChoice(const MixerKind& kind, std::unique_ptr<Options> options)
    : kind(kind), options(std::move(options)) {}

MixerChoice::MixerChoice(const MixerChoice& other)
    : kind(other.kind), options(other.options ? other.options->clone() : nullptr) {}

MixerChoice& MixerChoice::operator=(MixerChoice other) {
  std::swap(kind, other.kind);
  std::swap(options, other.options);
  return *this;
}

void MixerChoice::complete(const Place& place, const std::string& path) {
  with_path(path, [&] { kind.complete(*options, place); });
}

std::unique_ptr<Mixer> MixerChoice::make(const Place& place, const std::string& path) const {
  return with_path(path, [&] { return kind.make(*options, place); });
}

Traits Members::traits() const {
  Traits all{.memory = Memory::none, .stretch = true, .replays = true};
  for (const Mixer* mixer : mixers_) {
    const Traits& one = mixer->traits();
    all.memory = std::max(all.memory, one.memory);
    all.causal = all.causal && one.causal;
    all.starts = all.starts && one.starts;
    all.lengths = all.lengths && one.lengths;
    all.bfloat16 = all.bfloat16 && one.bfloat16;
    all.needs_prefix = all.needs_prefix || one.needs_prefix;
    all.stretch = all.stretch && one.stretch;
    all.replays = all.replays && one.replays;
    all.renewal = std::gcd(all.renewal, one.renewal);
  }
  return all;
}

State Members::initial_state(const StateOptions& options) const {
  State state(options.batch, options.device);
  for (size_t n = 0; n < mixers_.size(); ++n)
    set_part(state, prefix_of(n), mixers_[n]->initial_state(options));
  return state;
}

int64_t Members::flops(int64_t batch, int64_t length) const {
  int64_t sum = 0;
  for (const Mixer* mixer : mixers_) sum += mixer->flops(batch, length);
  return sum;
}

at::Tensor Members::operator()(size_t n, const at::Tensor& x, const Span& span) const {
  Mixer& mixer = *mixers_.at(n);
  if (!span.state) return mixer(x, span);
  const std::string prefix = prefix_of(n);
  State part = part_of(*span.state, prefix);
  Span inner = span;
  inner.state = &part;
  at::Tensor y = mixer(x, inner);
  set_part(*span.state, prefix, part);
  return y;
}

}  // namespace echo
