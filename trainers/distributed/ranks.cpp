#include "trainers/distributed/ranks.h"

#include "trainers/distributed/single_rank.h"

#include <cstring>

#include <ATen/ATen.h>

namespace echo {

namespace {

at::Tensor bytes_of(const std::string& text) {
  at::Tensor bytes = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes) {
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<size_t>(bytes.numel())};
}

}  // namespace

Ranks::Ranks() : world_(single_rank()) {}

Ranks::Ranks(std::unique_ptr<Communicator> world) : world_(std::move(world)) {
  mesh_.data = world_->size();
}

void Ranks::arrange(const Mesh& mesh) {
  ECHO_CHECK(mesh.ranks() == size());
  mesh_ = mesh;
  if (size() == 1) return;
  barrier(*world_, "the start");
  if (mesh.sequence > 1) sequence_ = world_->split(data_rank(), "the ranks of a sequence");
}

bool Ranks::any(bool here, const std::string& purpose) {
  if (size() == 1) return here;
  const at::Tensor votes = at::full({1}, here ? 1.0 : 0.0, at::kFloat);
  world_->all_reduce(votes, purpose)->wait();
  return votes.item<float>() > 0;
}

std::vector<std::string> Ranks::gather(const std::string& text, const std::string& purpose) {
  if (size() == 1) return {text};
  const at::Tensor sizes = at::zeros({size()}, at::kLong);
  sizes[rank()] = static_cast<int64_t>(text.size());
  world_->all_gather(sizes, Shares(static_cast<size_t>(size()), 1), purpose)->wait();
  const Shares shares(sizes.data_ptr<int64_t>(), sizes.data_ptr<int64_t>() + size());
  const at::Tensor all = at::empty({sizes.sum().item<int64_t>()}, at::kByte);
  const std::vector<at::Tensor> parts = all.split_with_sizes(shares);
  parts[static_cast<size_t>(rank())].copy_(bytes_of(text));
  world_->all_gather(all, shares, purpose)->wait();
  std::vector<std::string> texts;
  for (const at::Tensor& part : parts) texts.push_back(text_of(part));
  return texts;
}

std::string Ranks::from_first(const std::string& text, const std::string& purpose) {
  if (size() == 1) return text;
  const at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  world_->broadcast(length, 0, purpose)->wait();
  const at::Tensor bytes =
      leads() ? bytes_of(text) : at::empty({length.item<int64_t>()}, at::kByte);
  world_->broadcast(bytes, 0, purpose)->wait();
  return text_of(bytes);
}

int64_t Ranks::bytes_sent() const {
  return world_->bytes_sent() + (sequence_ ? sequence_->bytes_sent() : 0);
}

}  // namespace echo
