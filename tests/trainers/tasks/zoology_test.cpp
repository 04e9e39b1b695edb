#include "tests/trainers/tasks/zoology_checksums.h"
#include "trainers/tasks/mqar/mersenne.h"

#include <random>
#include <vector>

namespace echo::testing {

namespace {

TEST(Mersenne, GivesTheWordsOfTheStandardEngine) {
  for (const uint32_t seed : {0u, 1u, 123u, 4256823402u, 4294967295u}) {
    Mersenne ours(seed);
    std::mt19937 standard(seed);
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(ours(), standard()) << "word " << i;
  }
}

TEST(Mersenne, BeginsAsTheSpecificationSays) {
  Mersenne stream(0);
  EXPECT_EQ(stream(), 2357136044u);
  EXPECT_EQ(stream(), 2546248239u);
  EXPECT_EQ(stream(), 3071714933u);
  EXPECT_EQ(stream(), 3626093760u);
}

const ZoologySet kTiny = {"tiny",
                          20,
                          16,
                          2,
                          3,
                          0,
                          "ff9ec8c06138bc21c329e7ba2805bda70a5c0f22fa5fa15c9d2baf75a632fe2e",
                          "5ef5b861655013e8f302ef80352b9a617e504c7b1ed34ec739e95db3baf0455a",
                          "dfa3ee10308a84b2c045933077beea5526c4b721a8fa74c5dfdff922a5ceb43d"};

std::vector<int64_t> values(const at::Tensor& row) {
  const at::Tensor data = row.contiguous();
  return {data.const_data_ptr<int64_t>(), data.const_data_ptr<int64_t>() + data.numel()};
}

TEST(TinySet, HasTheRowsOfTheSpecification) {
  const Batch plain = draw(kTiny, false);
  EXPECT_EQ(values(plain.inputs[0]),
            (std::vector<int64_t>{8, 15, 3, 11, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(values(plain.inputs[1]),
            (std::vector<int64_t>{4, 15, 2, 12, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}));
  EXPECT_EQ(values(plain.labels[1]),
            (std::vector<int64_t>{-100, -100, -100, -100, 15, -100, -100, -100, -100, -100, -100,
                                  -100, -100, -100, 12, -100}));
  EXPECT_EQ(values(draw(kTiny, true).inputs[2]),
            (std::vector<int64_t>{6, 11, 3, 18, 2, 19, 6, 8, 3, 3, 16, 9, 11, 17, 3, 15}));
}

INSTANTIATE_TEST_SUITE_P(
    OfSmallSize, Zoology,
    ::testing::Values(
        kTiny,
        ZoologySet{"smoke", 256, 64, 4, 1000, 3062119789,
                   "91f624039f51739b83d9970b07fd175efcdf621c9283356a43c8b44ed1e138dc",
                   "ef078b6e1a31a246ce92d398108d5a35337188a237395d33f946ee1a40dc47a6",
                   "bf0afb0d0636ac5c1cb3067a659de93b6ddbd352b41418aef19a7d9a04bfa7c7"},
        ZoologySet{"based_test_1", 8192, 64, 4, 1000, 2967327842,
                   "f48dbe0ef6c9753d64bafd26f23503f4c4e2333fd359ad4237b946b04646f996",
                   "36e8ea5776aeebcc1ca7aa0608638abec1ede6f03bc11518fe2277aeed0ade8c",
                   "e0c6499352a28ce88fd391bff57604137d4e121541cbb44022f0f86f850be79c"},
        ZoologySet{"based_test_3", 8192, 64, 16, 1000, 3088727057, "55ffa85689881188",
                   "1dfa0064215f84da", "a91eb4ea44c488d1", 163794928},
        ZoologySet{"based_test_4", 8192, 128, 32, 1000, 3090095699, "37c4d8ab6e13d966",
                   "9bb637f63582acd2", "37db06b555194c1c", 327360880},
        ZoologySet{"based_test_5", 8192, 256, 64, 1000, 4256823402,
                   "2f668c3d4f1b5d947242495128543000e5155794f7b7ee5ed7c9c9d5a65987f9",
                   "34d61f3423106e878e8cb574b2b4eafb86190c3c0d0b0d6dcdc63bdeacf916b8",
                   "225d5a9af2c877588c0cb2b8c699d684b9c74d59f22c22fd6eab24b08f104178"},
        ZoologySet{"based_test_6", 8192, 512, 128, 1000, 3964712059, "009239b45f83cc1c",
                   "9847ec3a93e9ce25", "d7086384ab7e58e3", 1309727069},
        ZoologySet{"based_test_7", 8192, 1024, 256, 1000, 3350193721,
                   "2ebb4a9d6d01c9a67fa70686a52d643e8e063248fce51a405636332f10371d5b",
                   "2354543e0f1eaf1e16b561c7d3b4d0aea70fe46ffc8bc77f861b40e4c405a6c5",
                   "59bbf0f54d6dc98a468c5f3b1532f11f7eb4666efaffcccc2465097901b1b696"},
        ZoologySet{"iclr24_test_128", 8192, 128, 8, 3000, 3062119789,
                   "20b587cc9942f1f62397ffa5b3f04c3a25170cbefe26d440de27e9e331a0bdbe",
                   "43ef3564b0b8cffb14d40c69dba0eee8e1ab339031333c7bbb52f0bea246d8d6",
                   "ed41524d6bd9b49421d9f3429a8d184bb5b5b44534d57a56db88128768a63b71"},
        ZoologySet{"iclr24_test_256", 8192, 256, 16, 3000, 3062119789, "a71cfcd53373e1e7",
                   "b1130b6d2a0ac618", "6b497926ee26ad44", 491196909},
        ZoologySet{"iclr24_test_512", 8192, 512, 64, 3000, 3062119789, "fafa6cfdcf01eecd",
                   "208d994cf4a0d792", "297389dc40626c8a", 1963629858}),
    name_of);

}  // namespace

}  // namespace echo::testing
