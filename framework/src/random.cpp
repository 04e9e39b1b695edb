#include <echo/random.h>

#include <ATen/CPUGeneratorImpl.h>

namespace echo {

namespace {

// The finaliser of SplitMix64: every input bit changes every output bit with probability one half.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t derive_seed(uint64_t seed, std::string_view purpose, uint64_t index) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a of the purpose
  for (const char letter : purpose)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  return mix(mix(mix(seed) ^ hash) ^ index);
}

at::Generator generator(uint64_t seed, std::string_view purpose, uint64_t index) {
  return at::detail::createCPUGenerator(derive_seed(seed, purpose, index));
}

}  // namespace echo
