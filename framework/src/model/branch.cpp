#include "framework/src/model/branch.h"

#include "framework/src/out_of_memory.h"
#include "framework/src/recipe/nested.h"

#include <echo/random.h>

#include <new>

#include <ATen/ATen.h>

namespace echo {

at::Tensor dropped(const at::Tensor& x, double rate, const std::string& site,
                   const Dropout* masks) {
  if (!masks || rate == 0) return x;
  const at::Tensor keep = at::empty(x.sizes(), at::TensorOptions().dtype(at::kFloat));
  for (int64_t row = 0; row < x.size(0); ++row) {
    at::Generator stream =
        generator(masks->seed, "dropout." + site, static_cast<uint64_t>(masks->first_sample + row));
    keep[row].bernoulli_(1 - rate, stream);
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
  return at::add(x, dropped(y, dropout_, name_, masks), scale_);
}

}  // namespace echo
