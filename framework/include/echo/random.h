#pragma once

#include <cstdint>
#include <string_view>

#include <ATen/core/Generator.h>

namespace echo {

// Every random draw of a run comes from a generator derived from (seed, purpose, index), so that
// nothing depends on build order, ranks, workers or devices. The same arguments give the same
// stream on every machine.
uint64_t derive_seed(uint64_t seed, std::string_view purpose, uint64_t index = 0);

// A CPU generator (MT19937) at the start of the stream of derive_seed(seed, purpose, index).
at::Generator generator(uint64_t seed, std::string_view purpose, uint64_t index = 0);

}  // namespace echo
