#pragma once

namespace echo {

// While it lives, the first SIGINT, SIGTERM or SIGHUP only leaves a mark; the next one ends the
// process as if nobody had listened. Writing beyond a file size limit fails instead of killing. One
// at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const;
  const char* name() const;  // "SIGINT", ..; empty before one came
};

}  // namespace echo
