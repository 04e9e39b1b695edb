#include "framework/src/model/fixed_state.h"

#include <echo/error.h>

#include <vector>

#include <ATen/ATen.h>

namespace echo {

namespace {

struct Change {
  at::Tensor to;
  at::Tensor value;
};

// Where a value lies in memory that another change writes, it is taken out of there first.
void apply(std::vector<Change>& changes) {
  if (changes.size() > 1) {
    for (Change& change : changes) {
      for (const Change& other : changes) {
        if (change.value.is_alias_of(other.to)) change.value = change.value.clone();
      }
    }
  }
  for (const Change& change : changes) change.to.copy_(change.value);
}

at::Tensor own(const at::Tensor& value) {
  return value.detach().clone(at::MemoryFormat::Contiguous);
}

}  // namespace

FixedState::FixedState(State& state)
    : state_(state), position_(own(state.position())), entries_(state.entries()) {
  for (auto& [name, entry] : entries_) entry.value = own(entry.value);
  restore();
}

void FixedState::settle() {
  std::vector<Change> changes;
  const auto compare = [&](const at::Tensor& to, const at::Tensor& value) {
    if (!value.is_same(to)) changes.push_back({to, value});
  };
  ECHO_CHECK(state_.entries().size() == entries_.size(),
             "a mixer that claims to replay has another number of tensors in its state");
  for (const auto& [name, entry] : entries_) {
    const at::Tensor& value = state_.get(name);
    ECHO_CHECK(value.sizes() == entry.value.sizes(),
               "a mixer that claims to replay has changed the shape of '" << name << "'");
    compare(entry.value, value);
  }
  compare(position_, state_.position());
  apply(changes);
  restore();
}

void FixedState::restore() {
  std::vector<std::string> others;
  for (const auto& [name, entry] : state_.entries()) {
    if (!entries_.count(name)) others.push_back(name);
  }
  for (const std::string& name : others) state_.remove(name);
  for (const auto& [name, entry] : entries_) state_.add(name, entry.value, entry.role, entry.ring);
  state_.set_position(position_, state_.longest());
}

}  // namespace echo
