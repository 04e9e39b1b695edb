#pragma once

#include "framework/src/ranks/communicator.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

namespace echo {

// What a process did when, as Chrome and Perfetto show it (Trace Event Format, JSON). Rows are
// lanes: the trainer's work, and what is under way between the ranks. Used by several threads.
class Trace final : public Recorder {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Lane { work, exchange };

  explicit Trace(int64_t rank);  // becomes the process's number in the picture

  void add(Lane lane, const std::string& name, Clock::time_point begin, Clock::time_point end,
           int64_t bytes = 0);

  void exchanged(const std::string& purpose, Clock::time_point begin, Clock::time_point end,
                 int64_t bytes) override {
    add(Lane::exchange, purpose, begin, end, bytes);
  }

  // What has been added so far, as a JSON array.
  std::string events() const;

 private:
  struct Event {
    Lane lane;
    std::string name;
    int64_t begin = 0, duration = 0;  // microseconds since the epoch, so that ranks fit together
    int64_t bytes = 0;
  };
  int64_t rank_;
  int64_t offset_;  // of the clock to the epoch, microseconds
  mutable std::mutex mutex_;
  std::vector<Event> events_;
};

// One picture of all ranks' events(). Throws Error where the file cannot be written.
void write_trace(const std::filesystem::path& file, const std::vector<std::string>& events);

// Adds the time between its making and its end. A null trace: nothing.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, std::string name)
      : trace_(trace), name_(std::move(name)), begin_(Trace::Clock::now()) {}
  ~TraceSpan() {
    if (trace_) trace_->add(Trace::Lane::work, name_, begin_, Trace::Clock::now());
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  std::string name_;
  Trace::Clock::time_point begin_;
};

}  // namespace echo
