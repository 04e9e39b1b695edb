#include "framework/src/model/branch.h"

#include "framework/src/out_of_memory.h"
#include "framework/src/recipe/nested.h"

#include <echo/random.h>
#include <echo/stretch.h>

#include <algorithm>
#include <new>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace echo {

namespace {

// Tokens whose masks are drawn together, of a sample.
constexpr int64_t kMaskTokens = 4096;

// Marks what is kept of the tokens from `first` on of a sample, keep (T, D): the same for a token
// whoever draws it.
void keep_tokens(const at::Tensor& keep, int64_t first, double share, uint64_t seed) {
  const int64_t end = first + keep.size(0);
  for (int64_t token = first, next = 0; token < end; token = next) {
    const int64_t block = token / kMaskTokens, begin = block * kMaskTokens;
    next = std::min(end, begin + kMaskTokens);
    at::Generator stream = block == 0 ? at::detail::createCPUGenerator(seed)
                                      : generator(seed, "block", static_cast<uint64_t>(block));
    if (token == begin) {
      keep.narrow(0, token - first, next - token).bernoulli_(share, stream);
    } else {
      const at::Tensor all = at::empty({next - begin, keep.size(1)}, keep.options());
      all.bernoulli_(share, stream);
      keep.narrow(0, token - first, next - token).copy_(all.narrow(0, token - begin, next - token));
    }
  }
}

}  // namespace

at::Tensor dropped(const at::Tensor& x, double rate, const std::string& site, const Dropout* masks,
                   int64_t first_token) {
  if (!masks || rate == 0) return x;
  const at::Tensor keep = at::empty(x.sizes(), at::TensorOptions().dtype(at::kFloat));
  for (int64_t row = 0; row < x.size(0); ++row) {
    const auto sample = static_cast<uint64_t>(masks->first_sample + row);
    keep_tokens(keep[row], first_token, 1 - rate,
                derive_seed(masks->seed, "dropout." + site, sample));
  }
  return x * keep.div_(1 - rate).to(x.options());
}

namespace {

// "'turns/throws' of ./training.so"; only a plugin's kinds have a prefix.
std::string strangers(const BranchRecipe& recipe, const Registry& registry) {
  std::vector<std::string> kinds = {recipe.mixer.kind};
  for (const MixerChoice& inner : nested_mixers(*recipe.mixer.options))
    kinds.push_back(inner.kind.name);
  std::string text;
  for (const std::string& name : kinds) {
    const MixerKind* kind = registry.mixers.find(name);
    if (!kind || name.find('/') == std::string::npos) continue;
    text += (text.empty() ? "'" : ", '") + name + "' of " + kind->origin;
  }
  return text;
}

}  // namespace

Branch::Branch(std::string name, const BranchRecipe& recipe, const ModelRecipe& model,
               const Registry& registry, const Place& place)
    : Module(place.options),
      name_(std::move(name)),
      strangers_(strangers(recipe, registry)),
      placement_(recipe.norm),
      scale_(recipe.scale),
      dropout_(model.dropout) {
  if (placement_ != NormPlacement::none)
    norm_ = &child("norm", std::make_unique<Norm>(model.norm, place.width, place.options));
  mixer_ = &child("mixer", make(registry.mixers, recipe.mixer, place));
}

void Branch::fail(const std::string& reason) const {
  throw MixerFailed("the mixer " + strangers_ + ", in the model's " + name_ +
                    ", failed: " + reason);
}

at::Tensor Branch::mix(const at::Tensor& x, const Span& span) {
  if (strangers_.empty()) return (*mixer_)(x, span);
  try {
    return (*mixer_)(x, span);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const c10::Error& failure) {
    if (is_out_of_memory(failure)) throw;
    fail(first_line(failure));
  } catch (const std::exception& failure) {
    fail(failure.what());
  } catch (...) {
    fail("it threw an exception that is no std::exception");
  }
}

at::Tensor Branch::operator()(const at::Tensor& x, const Span& span, const Dropout* masks) {
  at::Tensor y = mix(placement_ == NormPlacement::pre ? (*norm_)(x) : x, span);
  if (span.probe) span.probe->record(name_ + ".mixer", y);
  if (placement_ == NormPlacement::post) y = (*norm_)(y);
  const int64_t first_token = span.stretch ? span.stretch->tokens_before() : 0;
  return at::add(x, dropped(y, dropout_, name_, masks, first_token), scale_);
}

}  // namespace echo
