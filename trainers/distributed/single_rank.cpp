#include "trainers/distributed/single_rank.h"

#include <ATen/ATen.h>

namespace echo {

namespace {

class Done final : public Pending {
 public:
  void wait() override {}
};

class LoneRank final : public Communicator {
 public:
  LoneRank(int64_t rank, int64_t size, int64_t neighbours)
      : rank_(rank), size_(size), neighbours_(neighbours) {}

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  std::unique_ptr<Pending> all_reduce(const at::Tensor&, const std::string&) override {
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> reduce_scatter(const at::Tensor&, const Shares&,
                                          const std::string&) override {
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> all_gather(const at::Tensor& whole, const Shares& shares,
                                      const std::string&) override {
    int64_t place = 0;
    for (int64_t rank = 0; rank < size_; ++rank) {
      const int64_t count = shares[static_cast<size_t>(rank)];
      if (rank != rank_) whole.narrow(0, place, count).zero_();
      place += count;
    }
    return std::make_unique<Done>();
  }
  std::unique_ptr<Pending> broadcast(const at::Tensor&, int64_t, const std::string&) override {
    return std::make_unique<Done>();
  }
  std::unique_ptr<Communicator> split(int64_t, const std::string&) override {
    return lone_rank(rank_ % neighbours_, neighbours_);
  }

 private:
  int64_t rank_, size_, neighbours_;
};

}  // namespace

std::unique_ptr<Communicator> single_rank() { return lone_rank(0, 1); }

std::unique_ptr<Communicator> lone_rank(int64_t rank, int64_t ranks, int64_t neighbours) {
  return std::make_unique<LoneRank>(rank, ranks, neighbours);
}

}  // namespace echo
