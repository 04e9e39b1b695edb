#include "framework/src/model/branch.h"

#include <echo/random.h>

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

Branch::Branch(std::string name, const BranchRecipe& recipe, const ModelRecipe& model,
               const Registry& registry, const Place& place)
    : Module(place.options),
      name_(std::move(name)),
      placement_(recipe.norm),
      scale_(recipe.scale),
      dropout_(model.dropout) {
  if (placement_ != NormPlacement::none)
    norm_ = &child("norm", std::make_unique<Norm>(model.norm, place.width, place.options));
  mixer_ = &child("mixer", make(registry.mixers, recipe.mixer, place));
}

at::Tensor Branch::operator()(const at::Tensor& x, const Span& span, const Dropout* masks) {
  at::Tensor y = (*mixer_)(placement_ == NormPlacement::pre ? (*norm_)(x) : x, span);
  if (span.probe) span.probe->record(name_ + ".mixer", y);
  if (placement_ == NormPlacement::post) y = (*norm_)(y);
  return at::add(x, dropped(y, dropout_, name_, masks), scale_);
}

}  // namespace echo
