#pragma once

#include <echo/module.h>

#include <vector>

namespace echo {

// Gives one module the parameters of another, by name. Where both keep a parameter in the same way,
// in a matrix of the same maps, they share its memory; else its numbers are copied.
class SharedParameters {
 public:
  // Throws FieldError of `field` for a parameter that the other one lacks, or has in another shape.
  // The modules outlive this.
  SharedParameters(const Module& from, const Module& to, const std::string& field);

  // Copies what is not shared.
  void refresh() const;

 private:
  struct Copy {
    Parameter from, to;
  };
  std::vector<Copy> copies_;
};

}  // namespace echo
