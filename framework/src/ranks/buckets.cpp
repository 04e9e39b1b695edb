#include "framework/src/ranks/buckets.h"

#include <map>

namespace echo {

namespace {

// Elements: large enough that a message costs more than its start, small enough that the first one
// leaves early.
constexpr int64_t kBucket = 1 << 20;

}  // namespace

Buckets gradient_buckets(const std::vector<Parameter>& parameters) {
  Buckets buckets;
  std::map<const void*, size_t> bucket_of;  // by leaf
  int64_t room = 0;
  for (size_t i = parameters.size(); i-- > 0;) {
    const void* const leaf = parameters[i].storage.unsafeGetTensorImpl();
    auto found = bucket_of.find(leaf);
    if (found == bucket_of.end()) {
      if (room <= 0) {
        buckets.emplace_back();
        room = kBucket;
      }
      found = bucket_of.emplace(leaf, buckets.size() - 1).first;
    }
    buckets[found->second].push_back(i);
    room -= parameters[i].numel();
  }
  return buckets;
}

int64_t bucket_elements(const Parameter& parameter) { return parameter.numel() + 1; }

}  // namespace echo
