#include <echo/error.h>
#include <echo/sizes.h>

namespace echo {

int64_t head_width_of(int64_t width, int64_t heads, const std::string& instead) {
  if (width % heads == 0) return width / heads;
  throw FieldError("heads", "heads is " + std::to_string(heads) +
                                ", which does not divide the width " + std::to_string(width) +
                                "; give " + instead + ", or other heads");
}

}  // namespace echo
