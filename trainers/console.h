#pragma once

#include "framework/src/text/terminal.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace echo {

// Where a run speaks. On a terminal one line is redrawn in place, cut to the terminal's width;
// elsewhere progress becomes a plain line every ten seconds, without control characters. Lines go
// to the log file too, once there is one. Used by one thread.
class Console {
 public:
  // `look` says what `out` is connected to, now.
  Console(std::ostream& out, std::function<Terminal()> look);
  ~Console();  // leaves the cursor on a line of its own

  // Appends to this file from now on. A log that cannot be written never stops a run.
  void open_log(const std::filesystem::path& path);

  void line(const std::string& text);      // screen and log
  void log_only(const std::string& text);  // log
  void finish();                           // takes the progress line away
  void wait();                             // no plain line of progress for the next ten seconds
  // `text` is asked for only when it will be shown.
  void progress(const std::function<std::string(int64_t columns)>& text);

 private:
  std::ostream& out_;
  std::function<Terminal()> look_;
  std::shared_ptr<spdlog::logger> log_;
  int64_t drawn_ = 0;  // columns of the progress line that stands on the terminal
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace echo
