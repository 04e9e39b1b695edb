#include "tests/trainers/tasks/zoology_checksums.h"

namespace echo::testing {

namespace {

INSTANTIATE_TEST_SUITE_P(
    OfTrainingSize, Zoology,
    ::testing::Values(
        ZoologySet{"based_train_1", 8192, 64, 4, 100000, 843828734, "c8dc7aefd250c5a5",
                   "c1dc34fe5da58221", "62d169f49586bd42", 4095217347},
        ZoologySet{"based_train_3", 8192, 256, 16, 20000, 1228959102, "bafb8cb413099285",
                   "d9fb4b5507cb2c61", "9bdf5339ba442b89", 3276360413},
        ZoologySet{"based_train_5", 8192, 256, 64, 20000, 974319580, "a9aba04fbe05b422",
                   "85b3698a9756bfef", "f436c92ee5ae9bb0", 13105558281}),
    name_of);

}  // namespace

}  // namespace echo::testing
