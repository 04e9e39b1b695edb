#include "trainers/console.h"

#include <algorithm>
#include <ostream>

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>

namespace echo {

namespace {

using Clock = std::chrono::steady_clock;
constexpr Clock::duration kRedraw = std::chrono::milliseconds(100);
constexpr Clock::duration kPlainLine = std::chrono::seconds(10);
constexpr int64_t kPlainColumns = 100;

}  // namespace

Console::Console(std::ostream& out, std::function<Terminal()> look)
    : out_(out), look_(std::move(look)), shown_(Clock::now() - kPlainLine) {}

Console::~Console() { finish(); }

void Console::open_log(const std::filesystem::path& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    log_ = std::make_shared<spdlog::logger>("run", std::move(sink));
    log_->set_pattern("%Y-%m-%d %H:%M:%S  %v");
    log_->set_error_handler([](const std::string&) {});
    log_->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& failure) {
    line(std::string("no log is written: ") + failure.what());
  }
}

void Console::finish() {
  if (drawn_ > 0)
    out_ << '\r' << std::string(static_cast<size_t>(drawn_), ' ') << '\r' << std::flush;
  drawn_ = 0;
}

void Console::wait() { shown_ = Clock::now(); }

void Console::line(const std::string& text) {
  finish();
  const Terminal terminal = look_();
  out_ << (terminal.interactive ? wrap(text, terminal.width, 2) : text) << std::endl;
  log_only(text);
}

void Console::log_only(const std::string& text) {
  if (log_) log_->info("{}", text);
}

void Console::progress(const std::function<std::string(int64_t columns)>& text) {
  const auto now = Clock::now();
  if (now - shown_ < kRedraw) return;
  const Terminal terminal = look_();
  if (!terminal.interactive && now - shown_ < kPlainLine) return;
  shown_ = now;
  if (!terminal.interactive) {
    out_ << text(kPlainColumns) << std::endl;
    return;
  }
  const int64_t room = std::max<int64_t>(terminal.width - 1, 0);  // the last column may wrap
  const std::string shown = text(room).substr(0, static_cast<size_t>(room));
  const auto size = static_cast<int64_t>(shown.size());
  const auto rest = static_cast<size_t>(std::clamp<int64_t>(drawn_ - size, 0, room - size));
  out_ << '\r' << shown << std::string(rest, ' ') << std::flush;
  drawn_ = size;
}

}  // namespace echo
