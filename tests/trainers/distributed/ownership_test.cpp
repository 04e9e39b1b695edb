#include "framework/src/ranks/ownership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

using testing::ElementsAre;

TEST(Ownership, GivesTheLargestToTheRankThatHasLeast) {
  EXPECT_THAT(owners({3, 10, 4, 4}, 2), ElementsAre(1, 0, 1, 1));
  EXPECT_THAT(owned_sizes({3, 10, 4, 4}, 2), ElementsAre(10, 11));
}

TEST(Ownership, LeavesRanksEmptyWhereThereAreFewParameters) {
  EXPECT_THAT(owned_sizes({5, 7}, 4), ElementsAre(7, 5, 0, 0));
}

}  // namespace
}  // namespace echo
