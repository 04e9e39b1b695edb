#pragma once

#include "framework/src/testing/subject.h"

namespace echo::testing {

// One check: throws Failure, or returns what it has to say (what was measured, or why it does not
// apply). See the table in echo/testing.h's kit.
using Check = std::string (*)(const Subject&);

std::string check_fields(const Subject& subject);   // described, defaults build, written and read
std::string check_alive(const Subject& subject);    // y depends on x, parameters on the loss
std::string check_shape(const Subject& subject);    // shape, dtype and x are kept
std::string check_causal(const Subject& subject);   // later tokens change no earlier bit
std::string check_batch(const Subject& subject);    // rows, repeats and padding change nothing
std::string check_split(const Subject& subject);    // any cut through the state equals one forward
std::string check_starts(const Subject& subject);   // packed documents equal separate ones
std::string check_grad(const Subject& subject);     // gradients equal central differences
std::string check_state(const Subject& subject);    // size, save and load, derived data, rows
std::string check_dtypes(const Subject& subject);   // float32, bfloat16, long and extreme inputs
std::string check_threads(const Subject& subject);  // two threads equal one
std::string check_ranks(const Subject& subject);    // parts on ranks equal the whole on one
std::string check_flops(const Subject& subject);    // stated operations are those of its products

}  // namespace echo::testing
