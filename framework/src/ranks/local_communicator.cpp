#include "framework/src/ranks/local_communicator.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace echo {

namespace {

using at::Tensor;

enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, split };

class Group;

// One operation, from the first rank that comes to it to the last that has waited for it.
struct Operation {
  Kind kind;
  std::string purpose;
  std::vector<Tensor> tensors;  // by rank
  std::vector<bool> come;
  Shares shares;
  int64_t root = 0;
  std::vector<int64_t> colours;
  std::vector<std::shared_ptr<Group>> groups;  // of a split, by rank
  std::vector<int64_t> new_ranks;
  int64_t arrived = 0;
  int64_t left = 0;
  bool done = false;
  std::string failure;
};

// What one rank brings to an operation.
struct Contribution {
  Kind kind;
  std::string purpose;
  Tensor tensor;
  Shares shares = {};
  int64_t root = 0;
  int64_t colour = 0;
};

std::string list(const std::vector<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i ? ", " : "") + std::to_string(ranks[i]);
  return text;
}

// The ranks of a communicator. All threads.
class Group {
 public:
  Group(int64_t size, double time_limit)
      : size_(size), time_limit_(time_limit), here_(static_cast<size_t>(size), true) {}

  int64_t size() const { return size_; }

  void start(int64_t number, int64_t rank, const Contribution& own) {
    const std::lock_guard lock(mutex_);
    const auto at = static_cast<size_t>(rank);
    const auto all = static_cast<size_t>(size_);
    auto [found, first] = operations_.try_emplace(number);
    Operation& operation = found->second;
    if (first) {
      operation.kind = own.kind;
      operation.purpose = own.purpose;
      operation.tensors.resize(all);
      operation.come.resize(all);
      operation.colours.resize(all);
      operation.shares = own.shares;
      operation.root = own.root;
    }
    if (operation.kind != own.kind || operation.purpose != own.purpose ||
        operation.shares != own.shares || operation.root != own.root) {
      operation.failure = "rank " + std::to_string(rank) + " came with '" + own.purpose + "' to '" +
                          operation.purpose + "'";
    }
    operation.tensors[at] = own.tensor;
    operation.colours[at] = own.colour;
    operation.come[at] = true;
    if (++operation.arrived == size_ && operation.failure.empty()) {
      perform(operation);
      operation.done = true;
    }
    changed_.notify_all();
  }

  // The operation is done; the last rank that asks takes it away.
  Operation wait(int64_t number) {
    std::unique_lock lock(mutex_);
    Operation& operation = operations_.at(number);
    const auto settled = [&] {
      return operation.done || !operation.failure.empty() || !gone(operation).empty();
    };
    const bool in_time =
        changed_.wait_for(lock, std::chrono::duration<double>(time_limit_), settled);
    if (!operation.done) fail(operation, in_time);
    Operation result = operation;
    if (++operation.left == size_) operations_.erase(number);
    return result;
  }

  void leave(int64_t rank) {
    const std::lock_guard lock(mutex_);
    here_[static_cast<size_t>(rank)] = false;
    changed_.notify_all();
  }

 private:
  std::vector<int64_t> missing(const Operation& operation) const {
    std::vector<int64_t> ranks;
    for (int64_t rank = 0; rank < size_; ++rank) {
      if (!operation.come[static_cast<size_t>(rank)]) ranks.push_back(rank);
    }
    return ranks;
  }

  std::vector<int64_t> gone(const Operation& operation) const {
    std::vector<int64_t> ranks;
    for (const int64_t rank : missing(operation)) {
      if (!here_[static_cast<size_t>(rank)]) ranks.push_back(rank);
    }
    return ranks;
  }

  [[noreturn]] void fail(const Operation& operation, bool in_time) const {
    if (!operation.failure.empty()) throw RanksFailed(operation.failure);
    if (in_time)
      throw RanksFailed(list(gone(operation)) + " left before '" + operation.purpose + "'");
    throw RanksFailed(list(missing(operation)) + " did not come to '" + operation.purpose +
                      "' within " + std::to_string(time_limit_) + " s");
  }

  void perform(Operation& operation) const {
    const c10::NoGradGuard no_grad;
    std::vector<Tensor>& tensors = operation.tensors;
    if (operation.kind == Kind::all_reduce) {
      const Tensor sum = tensors[0].clone();
      for (int64_t rank = 1; rank < size_; ++rank) sum.add_(tensors[static_cast<size_t>(rank)]);
      for (Tensor& tensor : tensors) tensor.copy_(sum);
    } else if (operation.kind == Kind::broadcast) {
      const Tensor from = tensors[static_cast<size_t>(operation.root)];
      for (Tensor& tensor : tensors) {
        if (!tensor.is_same(from)) tensor.copy_(from);
      }
    } else if (operation.kind == Kind::split) {
      split(operation);
    } else {
      exchange_shares(operation);
    }
  }

  void exchange_shares(Operation& operation) const {
    int64_t first = 0;
    for (int64_t owner = 0; owner < size_; ++owner) {
      const int64_t count = operation.shares[static_cast<size_t>(owner)];
      const auto share = [&](int64_t rank) {
        return operation.tensors[static_cast<size_t>(rank)].narrow(0, first, count);
      };
      if (operation.kind == Kind::all_gather) {
        for (int64_t rank = 0; rank < size_; ++rank) {
          if (rank != owner) share(rank).copy_(share(owner));
        }
      } else {
        const Tensor sum = share(0).clone();
        for (int64_t rank = 1; rank < size_; ++rank) sum.add_(share(rank));
        share(owner).copy_(sum);
      }
      first += count;
    }
  }

  void split(Operation& operation) const {
    std::map<int64_t, int64_t> counts;
    for (const int64_t colour : operation.colours) operation.new_ranks.push_back(counts[colour]++);
    std::map<int64_t, std::shared_ptr<Group>> made;
    for (const auto& [colour, count] : counts)
      made[colour] = std::make_shared<Group>(count, time_limit_);
    for (const int64_t colour : operation.colours) operation.groups.push_back(made[colour]);
  }

  const int64_t size_;
  const double time_limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> here_;
  std::map<int64_t, Operation> operations_;
};

class LocalPending final : public Pending {
 public:
  LocalPending(std::shared_ptr<Group> group, int64_t number)
      : group_(std::move(group)), number_(number) {}
  void wait() override { group_->wait(number_); }

 private:
  std::shared_ptr<Group> group_;
  int64_t number_;
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Group> group, int64_t rank)
      : group_(std::move(group)), rank_(rank) {}
  ~LocalCommunicator() override { group_->leave(rank_); }

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return group_->size(); }

  std::unique_ptr<Pending> all_reduce(const Tensor& tensor, const std::string& purpose) override {
    count_ring(tensor, 2);
    return start({Kind::all_reduce, purpose, tensor});
  }
  std::unique_ptr<Pending> reduce_scatter(const Tensor& whole, const Shares& shares,
                                          const std::string& purpose) override {
    count_ring(whole, 1);
    return start({Kind::reduce_scatter, purpose, whole, shares});
  }
  std::unique_ptr<Pending> all_gather(const Tensor& whole, const Shares& shares,
                                      const std::string& purpose) override {
    count_ring(whole, 1);
    return start({Kind::all_gather, purpose, whole, shares});
  }
  std::unique_ptr<Pending> broadcast(const Tensor& tensor, int64_t root,
                                     const std::string& purpose) override {
    count_ring(tensor, 1);
    return start({Kind::broadcast, purpose, tensor, {}, root});
  }

  std::unique_ptr<Communicator> split(int64_t colour, const std::string& purpose) override {
    const int64_t number = next_++;
    group_->start(number, rank_, {Kind::split, purpose, {}, {}, 0, colour});
    const Operation result = group_->wait(number);
    const auto own = static_cast<size_t>(rank_);
    return std::make_unique<LocalCommunicator>(result.groups[own], result.new_ranks[own]);
  }

 private:
  std::unique_ptr<Pending> start(const Contribution& own) {
    group_->start(next_, rank_, own);
    return std::make_unique<LocalPending>(group_, next_++);
  }

  std::shared_ptr<Group> group_;
  int64_t rank_;
  int64_t next_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> local_ranks(int64_t count, double time_limit) {
  const auto group = std::make_shared<Group>(count, time_limit);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int64_t rank = 0; rank < count; ++rank)
    ranks.push_back(std::make_unique<LocalCommunicator>(group, rank));
  return ranks;
}

void run_local_ranks(int64_t count, double time_limit,
                     const std::function<void(Communicator&)>& body) {
  std::vector<std::unique_ptr<Communicator>> ranks = local_ranks(count, time_limit);
  std::vector<std::exception_ptr> failures(ranks.size()), consequences(ranks.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] {
      try {
        body(*ranks[i]);
      } catch (const RanksFailed&) {
        consequences[i] = std::current_exception();
      } catch (...) {
        failures[i] = std::current_exception();
      }
      ranks[i].reset();  // who waits for this rank learns of it
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& all : {failures, consequences}) {
    for (const std::exception_ptr& failure : all) {
      if (failure) std::rethrow_exception(failure);
    }
  }
}

}  // namespace echo
