#include "trainers/distributed/trace.h"

#include "framework/src/files/file.h"

#include <nlohmann/json.hpp>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

int64_t microseconds(auto duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
}

}  // namespace

EventTrace::EventTrace(int64_t rank)
    : rank_(rank),
      offset_(microseconds(std::chrono::system_clock::now().time_since_epoch()) -
              microseconds(Clock::now().time_since_epoch())) {}

void EventTrace::add(Lane lane, const std::string& name, Clock::time_point begin,
                     Clock::time_point end, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  events_.push_back({lane, name, microseconds(begin.time_since_epoch()) + offset_,
                     microseconds(end - begin), bytes});
}

std::string EventTrace::events() const {
  const std::lock_guard lock(mutex_);
  Json events = Json::array();
  const auto describe = [&](const char* what, int lane, const std::string& name) {
    events.push_back(
        {{"ph", "M"}, {"pid", rank_}, {"tid", lane}, {"name", what}, {"args", {{"name", name}}}});
  };
  describe("process_name", 0, "rank " + std::to_string(rank_));
  describe("thread_name", 0, "work");
  describe("thread_name", 1, "exchange");
  for (const Event& event : events_) {
    Json entry = {
        {"ph", "X"},          {"pid", rank_},      {"tid", event.lane == Lane::work ? 0 : 1},
        {"name", event.name}, {"ts", event.begin}, {"dur", event.duration}};
    if (event.bytes > 0) entry["args"] = {{"bytes", event.bytes}};
    events.push_back(std::move(entry));
  }
  return events.dump();
}

void write_trace(const std::filesystem::path& file, const std::vector<std::string>& events) {
  Json all = Json::array();
  for (const std::string& text : events) {
    Json list = Json::parse(text);
    for (Json& event : list) all.push_back(std::move(event));
  }
  replace_file(file, Json{{"traceEvents", std::move(all)}}.dump() + "\n");
}

}  // namespace echo
