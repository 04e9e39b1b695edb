#include "framework/src/out_of_memory.h"

namespace echo {

std::string first_line(const c10::Error& failure) {
  const std::string text = failure.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

bool is_out_of_memory(const c10::Error& failure) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&failure)) return true;
  const std::string what = first_line(failure);
  for (const char* sign :
       {"not enough memory", "can't allocate memory", "calculation overflowed"}) {
    if (what.find(sign) != std::string::npos) return true;
  }
  return false;
}

}  // namespace echo
