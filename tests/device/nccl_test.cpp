// Built with CUDA only: the operations between ranks, over all GPUs of this machine, a thread of
// this process for each. One GPU is a group of one rank, which still goes through NCCL.
#include "tests/mixers/wrappers.h"
#include "trainers/distributed/nccl_communicator.h"
#include "trainers/distributed/ranks.h"
#include "trainers/learner.h"

#include <thread>

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

namespace echo {
namespace {

class NcclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    count_ = at::cuda::device_count();
    if (count_ == 0) GTEST_SKIP() << "no GPU: NCCL has nothing to connect";
  }

  // Runs body in a thread for each GPU.
  void on_all(const std::function<void(Communicator&, at::Device)>& body) const {
    const auto store = c10::make_intrusive<c10d::HashStore>();
    std::vector<std::thread> threads;
    for (int64_t rank = 0; rank < count_; ++rank) {
      threads.emplace_back([&, rank] {
        const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(rank));
        const c10::cuda::CUDAGuard guard(device);
        const auto ranks = nccl_communicator(store, rank, count_, device);
        body(*ranks, device);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  int64_t count_ = 0;
};

TEST_F(NcclTest, AllReduceSums) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong}) {
    on_all([&](Communicator& ranks, at::Device device) {
      const auto options = at::TensorOptions(dtype);
      const at::Tensor here = at::full({3}, ranks.rank() + 1, options.device(device));
      const at::Tensor on_host = at::full({3}, ranks.rank() + 1, options);
      ranks.all_reduce(here, "sum")->wait();
      ranks.all_reduce(on_host, "sum of the host")->wait();
      const at::Tensor expected = at::full({3}, count_ * (count_ + 1) / 2, options);
      EXPECT_TRUE(here.cpu().equal(expected)) << dtype;
      EXPECT_TRUE(on_host.equal(expected)) << dtype;
    });
  }
}

TEST_F(NcclTest, SharesAreSummedAndGathered) {
  on_all([&](Communicator& ranks, at::Device device) {
    Shares shares;
    int64_t first = 0, all = 0;
    for (int64_t rank = 0; rank < count_; ++rank) {
      if (rank == ranks.rank()) first = all;
      shares.push_back(rank + 1);
      all += rank + 1;
    }
    const auto own = static_cast<size_t>(ranks.rank());
    const at::Tensor numbers = at::arange(all, at::TensorOptions(at::kFloat).device(device));
    at::Tensor whole = numbers.clone();
    ranks.reduce_scatter(whole, shares, "gradients")->wait();
    EXPECT_TRUE(
        whole.narrow(0, first, shares[own]).equal(numbers.narrow(0, first, shares[own]) * count_));
    whole.zero_();
    whole.narrow(0, first, shares[own]).copy_(numbers.narrow(0, first, shares[own]));
    ranks.all_gather(whole, shares, "parts")->wait();
    EXPECT_TRUE(whole.equal(numbers));
  });
}

TEST_F(NcclTest, TheLastRankTellsAll) {
  on_all([&](Communicator& ranks, at::Device device) {
    const at::Tensor told =
        at::full({2}, ranks.rank(), at::TensorOptions(at::kFloat).device(device));
    ranks.broadcast(told, count_ - 1, "a number")->wait();
    EXPECT_EQ(told.cpu()[0].item<double>(), static_cast<double>(count_ - 1));
  });
}

TEST_F(NcclTest, AGroupIsSplit) {
  on_all([&](Communicator& ranks, at::Device device) {
    const auto half = ranks.split(ranks.rank() % 2, "halves");
    const at::Tensor one = at::ones({1}, at::TensorOptions(at::kFloat).device(device));
    half->all_reduce(one, "count")->wait();
    EXPECT_EQ(one.cpu().item<double>(), static_cast<double>(half->size()));
  });
}

// Ranks that share a batch learn what one GPU learns.
TEST_F(NcclTest, RanksLearnAsOne) {
  const Recipe recipe = read_recipe_text(
      "model: {width: 32, mixers: {m: {kind: mamba2, head_width: 16}, s: {kind: ska, heads: 2, "
      "rank: 6}}, "
      "blocks: [[m], [s]]}\n"
      "task: {kind: mqar, length: 40, pairs: 4, vocabulary: 64}\n"
      "train: {steps: 4, batch: 16, optimizer: {kind: adamw, peak_rate: 1e-3}, schedule: {kind: "
      "cosine}}\n",
      "nccl.yaml", ".", {}, builtin_registry());
  const auto learn = [&](Ranks& ranks, at::Device device) {
    const auto task = make(builtin_registry().tasks, recipe.task, TaskPlace{.seed = 3});
    Learner learner(recipe, builtin_registry(), device, {.ranks = &ranks});
    const DataPlan plan{.task = task.get(),
                        .batch = 16,
                        .device = device,
                        .rank = ranks.data_rank(),
                        .ranks = ranks.mesh().data};
    double loss = 0;
    for (int64_t step = 1; step <= 4; ++step) loss = *learner.step(step_data(plan, step)).loss;
    return loss;
  };
  Ranks alone;
  const double reference = learn(alone, at::Device(at::kCUDA, 0));
  on_all([&](Communicator& communicator, at::Device device) {
    Ranks ranks(communicator.split(0, "all"));
    ranks.arrange({.data = count_, .sequence = 1});
    EXPECT_NEAR(learn(ranks, device), reference, 1e-4);
  });
}

}  // namespace
}  // namespace echo
