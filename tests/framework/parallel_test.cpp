#include <echo/parallel.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include <gtest/gtest.h>

namespace echo {
namespace {

TEST(ParallelTest, VisitsEveryIndexOnce) {
  std::vector<std::atomic<int>> visits(1000);
  parallel_for(3, 1000, 7, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
  });
  for (size_t i = 0; i < visits.size(); ++i) EXPECT_EQ(visits[i], i < 3 ? 0 : 1) << i;
}

TEST(ParallelTest, DoesNothingForAnEmptyRange) {
  parallel_for(5, 5, 1, [](int64_t, int64_t) { FAIL(); });
}

TEST(ParallelTest, UsesLibTorchsThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  parallel_for(0, 64, 1, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  at::set_num_threads(before);
  EXPECT_EQ(threads.size(), 2u);
}

TEST(ParallelTest, RethrowsWhatAPartThrows) {
  EXPECT_THROW(parallel_for(0, 64, 1, [](int64_t, int64_t) { throw std::runtime_error("part"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace echo
