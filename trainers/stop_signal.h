#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace echo {

// While it lives, the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 only leaves a mark; the next one
// ends the process as if nobody had listened. SIGUSR1 is the one that mpirun hands on to its ranks.
// Writing beyond a file size limit fails instead of killing. One at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const;
  const char* name() const;  // "SIGINT", ..; empty before one came
};

// Calls `give_up` on a thread of its own when so many seconds have passed since a signal came.
class GraceLimit {
 public:
  GraceLimit(const StopSignal& signal, double seconds, std::function<void()> give_up);
  ~GraceLimit();

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

}  // namespace echo
