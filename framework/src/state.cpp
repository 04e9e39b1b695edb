#include <echo/error.h>
#include <echo/span.h>
#include <echo/state.h>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

at::Tensor writable(const at::Tensor& memory) {
  if (!memory.defined()) return memory;
  return memory.requires_grad() ? memory.detach().clone() : memory.contiguous();
}

struct State::Data {
  std::map<std::string, StateEntry> entries;
  at::Tensor position;
  int64_t longest = 0;
};

namespace {

template <class F>
std::map<std::string, StateEntry> transformed(const std::map<std::string, StateEntry>& entries,
                                              F&& change) {
  std::map<std::string, StateEntry> result = entries;
  for (auto& [name, entry] : result) entry.value = change(entry.value);
  return result;
}

}  // namespace

State::State(int64_t batch, at::Device device) : data_(std::make_unique<Data>()) {
  data_->position = at::zeros({batch}, at::TensorOptions().dtype(at::kLong).device(device));
}
State::~State() = default;
State::State(State&&) noexcept = default;
State& State::operator=(State&&) noexcept = default;

int64_t State::batch() const { return data_->position.size(0); }
at::Device State::device() const { return data_->position.device(); }

void State::add(const std::string& name, at::Tensor value, StateRole role, int64_t ring) {
  ECHO_CHECK(value.dim() > 0 && value.size(0) == batch(),
             "the state '" << name << "' is not batch first");
  data_->entries[name] = StateEntry{std::move(value), role, ring};
}

bool State::has(const std::string& name) const { return data_->entries.count(name) > 0; }

const at::Tensor& State::get(const std::string& name) const {
  const auto found = data_->entries.find(name);
  ECHO_CHECK(found != data_->entries.end(), "the state has no '" << name << "'");
  return found->second.value;
}

void State::set(const std::string& name, at::Tensor value) {
  const auto found = data_->entries.find(name);
  ECHO_CHECK(found != data_->entries.end(), "the state has no '" << name << "'");
  found->second.value = std::move(value);
}

void State::remove(const std::string& name) { data_->entries.erase(name); }

const std::map<std::string, StateEntry>& State::entries() const { return data_->entries; }
const at::Tensor& State::position() const { return data_->position; }
int64_t State::longest() const { return data_->longest; }

void State::set_position(at::Tensor position, int64_t longest) {
  ECHO_CHECK(position.dim() == 1 && position.size(0) == batch());
  data_->position = std::move(position);
  data_->longest = longest;
}

void State::advance(int64_t length, const at::Tensor& starts, const at::Tensor& lengths,
                    const Offsets* offsets) {
  c10::NoGradGuard no_grad;
  if (!starts.defined()) {
    data_->position = lengths.defined() ? data_->position + lengths : data_->position + length;
  } else {
    const at::Tensor valid = lengths.defined() ? lengths : at::full_like(data_->position, length);
    // Tokens since the last start inside the valid part; without one, the count goes on.
    const at::Tensor index = at::arange(length, data_->position.options()).unsqueeze(0);
    const at::Tensor here = starts.logical_and(index < valid.unsqueeze(1));
    const at::Tensor last = at::where(here, index, at::full_like(index, -1)).amax(1);
    data_->position = at::where(last >= 0, valid - last, data_->position + valid);
  }
  data_->longest += length;
  if (!offsets || offsets->starts.empty()) return;
  int64_t since_start = 0;
  for (const auto& row : offsets->starts) {
    since_start = std::max(since_start, row.empty() ? data_->longest : length - row.back());
  }
  data_->longest = std::min(data_->longest, since_start);
}

at::Tensor State::ordered(const std::string& name) const {
  const StateEntry& entry = data_->entries.at(name);
  if (entry.ring < 0) return entry.value;
  const int64_t size = entry.value.size(entry.ring);
  const int64_t written = std::min(size, data_->longest);
  if (data_->longest <= size) return entry.value.narrow(entry.ring, 0, written);
  return entry.value.roll(-(data_->longest % size), entry.ring);
}

void State::load_ordered(const std::string& name, const at::Tensor& value) {
  StateEntry& entry = data_->entries.at(name);
  const at::Tensor cast = value.to(entry.value.options());
  if (entry.ring < 0) {
    ECHO_CHECK(cast.sizes() == entry.value.sizes(), "the state '" << name << "' has another shape");
    entry.value = cast.clone();
    return;
  }
  const int64_t size = entry.value.size(entry.ring);
  const int64_t count = cast.size(entry.ring);
  ECHO_CHECK(count <= size,
             "the state '" << name << "' holds " << size << " tokens, not " << count);
  at::Tensor ring = at::zeros_like(entry.value);
  ring.narrow(entry.ring, 0, count).copy_(cast);
  // The oldest of `count` entries is token longest - count.
  entry.value = ring.roll((data_->longest - count) % size, entry.ring);
}

int64_t State::bytes() const {
  int64_t sum = 0;
  for (const auto& [name, entry] : data_->entries) {
    if (entry.role == StateRole::memory) sum += static_cast<int64_t>(entry.value.nbytes());
  }
  return sum;
}

int64_t State::resident_bytes() const {
  int64_t sum = 0;
  for (const auto& [name, entry] : data_->entries)
    sum += static_cast<int64_t>(entry.value.nbytes());
  return sum;
}

State State::clone() const {
  State copy;
  copy.data_->entries =
      transformed(data_->entries, [](const at::Tensor& value) { return value.clone(); });
  copy.data_->position = data_->position.clone();
  copy.data_->longest = data_->longest;
  return copy;
}

State State::detach() const {
  State copy;
  copy.data_->entries =
      transformed(data_->entries, [](const at::Tensor& value) { return value.detach(); });
  copy.data_->position = data_->position;
  copy.data_->longest = data_->longest;
  return copy;
}

State State::to(at::Device device) const {
  State copy;
  copy.data_->entries =
      transformed(data_->entries, [&](const at::Tensor& value) { return value.to(device); });
  copy.data_->position = data_->position.to(device);
  copy.data_->longest = data_->longest;
  return copy;
}

State State::select(const at::Tensor& rows) const {
  State copy;
  copy.data_->entries = transformed(
      data_->entries, [&](const at::Tensor& value) { return value.index_select(0, rows); });
  copy.data_->position = data_->position.index_select(0, rows);
  copy.data_->longest = data_->longest;
  return copy;
}

void State::put(const at::Tensor& rows, const State& other) {
  for (auto it = data_->entries.begin(); it != data_->entries.end();) {
    // Derived data that one side lacks is rebuilt by its mixer.
    const auto from = other.data_->entries.find(it->first);
    if (from == other.data_->entries.end()) {
      ECHO_CHECK(it->second.role == StateRole::derived,
                 "the other state has no '" << it->first << "'");
      it = data_->entries.erase(it);
      continue;
    }
    at::Tensor& value = it->second.value;
    const at::Tensor& source = from->second.value;
    if (it->second.ring >= 0 && source.size(it->second.ring) != value.size(it->second.ring)) {
      ECHO_CHECK(false, "the states' capacities differ");
    }
    value = value.index_copy(0, rows, source);
    ++it;
  }
  data_->position = data_->position.index_copy(0, rows, other.data_->position);
  data_->longest = std::max(data_->longest, other.data_->longest);
}

}  // namespace echo
