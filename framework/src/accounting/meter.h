#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

namespace echo {

// The bytes that were held after every allocation and every release of one stretch of work.
struct Trace {
  std::vector<int64_t> held = {0};

  int64_t peak() const { return *std::max_element(held.begin(), held.end()); }
  int64_t last() const { return held.back(); }
};

// Counts the bytes that this thread's tensors hold, of any device, while a DebugInfoGuard of
// PROFILER_STATE with it is alive. What libraries take beside tensors (MKL, oneDNN) is not seen.
class Meter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    held_ += size;
    peak_ = std::max(peak_, held_);
    if (trace_) trace_->held.push_back(held_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  int64_t held() const { return held_; }
  int64_t peak() const { return peak_; }
  void forget_peak() { peak_ = held_; }
  // From now on into this trace, which begins with what is held now; null: into none.
  void follow(Trace* trace) {
    trace_ = trace;
    if (trace) trace->held = {held_};
  }

 private:
  int64_t held_ = 0, peak_ = 0;
  Trace* trace_ = nullptr;
};

// A meter that counts while it is alive.
class Metered {
 public:
  Metered()
      : meter_(std::make_shared<Meter>()), guard_(c10::DebugInfoKind::PROFILER_STATE, meter_) {}
  Meter& operator*() const { return *meter_; }
  Meter* operator->() const { return meter_.get(); }

 private:
  std::shared_ptr<Meter> meter_;
  c10::DebugInfoGuard guard_;
};

// The most bytes that tensors of this thread held at once while `work` ran, beyond those before it.
inline int64_t peak_bytes(const std::function<void()>& work) {
  const Metered meter;
  work();
  return meter->peak();
}

}  // namespace echo
