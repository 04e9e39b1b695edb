#pragma once

#include <echo/error.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

// A rank that died, or did not come to an operation in time; the message names both.
class RanksFailed : public Error {
 public:
  using Error::Error;
};

// An operation under way. Its tensors stay alive and untouched until wait() has returned; it is
// waited for exactly once. wait() throws RanksFailed.
class Pending {
 public:
  virtual ~Pending() = default;
  virtual void wait() = 0;
};

// How many elements of a flat tensor belong to each rank, in order of rank.
using Shares = std::vector<int64_t>;

// Takes note of what was under way between ranks, and when. Called from any thread.
class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual void exchanged(const std::string& purpose, std::chrono::steady_clock::time_point begin,
                         std::chrono::steady_clock::time_point end, int64_t bytes) = 0;
};

// One process of a group of ranks that train one model together. Every rank calls the same
// operations with the same shapes in the same order; `purpose` names one in errors and in traces
// ("gradients 3"). Operations are asynchronous and go on beside the caller's work. Tensors are
// contiguous, float32, float64, bfloat16, int64 or uint8, on the engine's kind of device. Sums run
// in a fixed order: the same ranks give the same bits. Used by one thread at a time.
//
// A rank that dies, or that does not come to an operation within the time limit, ends the wait with
// a RanksFailed that names it and the operation.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;

  // Sum over the ranks, in place.
  virtual std::unique_ptr<Pending> all_reduce(const at::Tensor& tensor,
                                              const std::string& purpose) = 0;
  // `whole` is flat and holds one share per rank. Afterwards the own share is the sum over the
  // ranks; the others are unspecified.
  virtual std::unique_ptr<Pending> reduce_scatter(const at::Tensor& whole, const Shares& shares,
                                                  const std::string& purpose) = 0;
  // Sends the own share of `whole` to all.
  virtual std::unique_ptr<Pending> all_gather(const at::Tensor& whole, const Shares& shares,
                                              const std::string& purpose) = 0;
  // From rank `root` to all.
  virtual std::unique_ptr<Pending> broadcast(const at::Tensor& tensor, int64_t root,
                                             const std::string& purpose) = 0;

  // The ranks that give the same colour, in the order of their rank here; shares the engine.
  virtual std::unique_ptr<Communicator> split(int64_t colour, const std::string& purpose) = 0;

  // How long an operation may take from now on, in seconds.
  virtual void limit(double) {}

  // Notes every operation from now on, of its splits too; null ends that.
  virtual void record(Recorder*) {}

  // Bytes that this rank has sent, as the usual algorithms do: in a ring of n ranks an all_reduce
  // of b bytes sends 2 (n - 1) / n b, a reduce_scatter or an all_gather (n - 1) / n b.
  int64_t bytes_sent() const { return bytes_sent_; }

 protected:
  void count_ring(const at::Tensor& tensor, int64_t rounds);
  void count(int64_t bytes) { bytes_sent_ += bytes; }

 private:
  int64_t bytes_sent_ = 0;
};

// Waits until all ranks are here.
void barrier(Communicator& ranks, const std::string& purpose);

}  // namespace echo
