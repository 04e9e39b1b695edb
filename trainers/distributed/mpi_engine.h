#pragma once

#include "trainers/distributed/mpi_communicator.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mpi.h>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

// The ranks of one communicator.
struct MpiGroup {
  MPI_Comm communicator = MPI_COMM_NULL;
  int64_t index = 0;  // of the communicator, in the order in which all ranks made them
  int64_t rank = 0;
  int64_t size = 1;
  std::vector<int64_t> members;  // their ranks in the world
};

// One operation, from the thread that asks for it to the engine's and back.
struct MpiOperation {
  using Start = std::function<int(MPI_Request*)>;  // returns MPI's error code
  MpiGroup group;
  std::string purpose;
  int64_t bytes = 0;
  Start start;
  std::function<void()> finish;  // on the asking thread; may be empty

  void wait();  // throws RanksFailed

  // Of the engine's.
  int64_t number = 0;  // in its group, from 1
  MPI_Request request = MPI_REQUEST_NULL;
  std::chrono::steady_clock::time_point begun;
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::string failure;  // empty: it went well
};

// MPI and the one thread that calls it. Owned by the communicators that use it.
class MpiEngine {
 public:
  MpiEngine();
  ~MpiEngine();
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  MpiGroup world() const { return world_; }
  MpiGroup split(const MpiGroup& group, int64_t colour, const std::string& purpose);
  void post(const std::shared_ptr<MpiOperation>& operation);
  void limit(double seconds) { time_limit_ = seconds; }
  void record(Recorder* recorder) { recorder_ = recorder; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Inquiry;

  void work();
  void start(const std::shared_ptr<MpiOperation>& operation);
  bool test_all();
  void complete(MpiOperation& operation, const std::string& failure);
  void answer_questions();
  void look_for_late_ranks();
  std::string find_out(const MpiOperation& operation);
  std::string verdict(const MpiOperation& operation, const Inquiry& inquiry) const;
  void fail_all(const std::string& reason);

  std::atomic<double> time_limit_ = 600;  // seconds
  MpiGroup world_;
  MPI_Comm control_ = MPI_COMM_NULL;  // questions and answers
  int64_t groups_ = 1;

  std::atomic<Recorder*> recorder_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<MpiOperation>> posted_;
  bool stopping_ = false, abandoned_ = false;
  std::thread thread_;

  // Of the thread alone.
  std::vector<std::shared_ptr<MpiOperation>> active_;
  std::vector<int64_t> started_;            // operations so far, by group
  std::vector<std::string> last_purposes_;  // of the last one, by group
  std::string broken_;                      // why nothing works any more
};

MPI_Datatype mpi_type(const at::Tensor& tensor);
MPI_Op mpi_sum(const at::Tensor& tensor);
int whole_count(const at::Tensor& tensor);  // elements; all that MPI can count in one call

}  // namespace echo
