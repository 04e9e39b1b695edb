#include "framework/src/files/safetensors.h"

#include <echo/error.h>

#include <fstream>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsTest() : path(fs::path(::testing::TempDir()) / "echo test.safetensors") {}
  ~SafetensorsTest() override { fs::remove(path); }

  void write_raw(const std::string& header, const std::string& data) {
    std::ofstream file(path, std::ios::binary);
    const uint64_t size = header.size();
    file.write(reinterpret_cast<const char*>(&size), 8);
    file << header << data;
  }
  std::string bytes() {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string message() {
    try {
      read_safetensors(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  fs::path path;
};

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  NamedTensors content;
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong,
                                    at::kInt, at::kShort, at::kChar, at::kByte, at::kBool}) {
    content.tensors[at::toString(type)] = at::arange(6, at::kFloat).view({2, 3}).to(type);
  }
  content.tensors["scalar"] = at::full({}, 2.5);
  content.tensors["empty"] = at::empty({0, 4});
  content.tensors["transposed"] = at::arange(6, at::kFloat).view({2, 3}).t();
  content.metadata["format"] = "pt";
  write_safetensors(path, content);
  const NamedTensors read = read_safetensors(path);
  EXPECT_EQ(read.metadata, content.metadata);
  ASSERT_EQ(read.tensors.size(), content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    EXPECT_EQ(read.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read.tensors.at(name), tensor)) << name;
  }
}

TEST_F(SafetensorsTest, WritesTheSameBytesForTheSameContent) {
  const NamedTensors content = {{{"b", at::ones({3})}, {"a", at::zeros({2})}},
                                {{"k", "v"}, {"a", "b"}}};
  write_safetensors(path, content);
  const std::string first = bytes();
  write_safetensors(path, content);
  EXPECT_EQ(bytes(), first);
}

TEST_F(SafetensorsTest, WritesRowsAsTheyCome) {
  SafetensorsWriter writer(path, {{"a", {at::kFloat, {3, 2}}}, {"b", {at::kLong, {1}}}});
  const at::Tensor rows = at::arange(6, at::kFloat).view({3, 2});
  writer.append(rows.narrow(0, 0, 2));
  writer.append(rows.narrow(0, 2, 1));
  writer.append(at::ones({1}, at::kLong));
  writer.finish();
  SafetensorsFile file(path);
  EXPECT_EQ(file.entries().at("a").shape, (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(at::equal(file.read("a"), rows));
}

TEST_F(SafetensorsTest, LeavesNoFileThatWasNotFinished) {
  { SafetensorsWriter writer(path, {{"a", {at::kFloat, {3}}}}); }
  EXPECT_FALSE(fs::exists(path));
}

TEST_F(SafetensorsTest, RefusesEveryCutFile) {
  write_safetensors(path, {{{"a", at::ones({16})}}, {}});
  const std::string whole = bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, size);
    EXPECT_NE(message(), "") << size;
  }
}

TEST_F(SafetensorsTest, NamesATensorWhoseShapeAndDataDisagree) {
  write_raw(R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", std::string(8, 'x'));
  EXPECT_THAT(message(), HasSubstr("tensor 'w': its data and its shape disagree in size"));
}

TEST_F(SafetensorsTest, NamesATensorOutsideTheFile) {
  write_raw(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", std::string(8, 'x'));
  EXPECT_THAT(message(), HasSubstr("tensor 'w': its data lie outside the file"));
}

TEST_F(SafetensorsTest, NamesAShapeThatOverflows) {
  write_raw(R"({"w":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", "");
  EXPECT_THAT(message(), HasSubstr("tensor 'w': its shape is too large"));
}

TEST_F(SafetensorsTest, NamesADtypeThatItDoesNotKnow) {
  write_raw(R"({"w":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}})", "x");
  EXPECT_THAT(message(), HasSubstr("the dtype F8_E5M2 is not supported"));
}

TEST_F(SafetensorsTest, RefusesBytesThatBelongToNoTensor) {
  write_raw(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(20, 'x'));
  EXPECT_THAT(message(), HasSubstr("12 bytes follow the last tensor"));
}

TEST_F(SafetensorsTest, RefusesAFolderAndAMissingFile) {
  EXPECT_THROW(read_safetensors(::testing::TempDir()), Error);
  EXPECT_THROW(read_safetensors(path), Error);
}

}  // namespace
}  // namespace echo
