#include <echo/fields.h>

#include <cmath>
#include <sstream>

namespace echo {

bool Range::contains(double value) const {
  if (std::isnan(value)) return false;
  return (low_open ? value > low : value >= low) && (high_open ? value < high : value <= high);
}

std::string Range::text() const {
  std::ostringstream text;
  text.precision(15);  // whole numbers in full
  if (std::isfinite(low) && std::isfinite(high) && !low_open && !high_open) {
    text << "between " << low << " and " << high;
    return text.str();
  }
  if (std::isfinite(low)) text << (low_open ? "above " : "at least ") << low;
  if (std::isfinite(low) && std::isfinite(high)) text << " and ";
  if (std::isfinite(high)) text << (high_open ? "below " : "at most ") << high;
  return text.str();
}

}  // namespace echo
