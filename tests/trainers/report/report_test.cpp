#include "trainers/report/report.h"

#include "tests/trainers/support.h"

#include <echo/error.h>

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace echo {
namespace {

using testing::HasSubstr;
using testing::Not;

class ReportTest : public testing::Test {
 protected:
  ReportTest() {
    put("metrics.jsonl", R"({"step": 10, "loss": 2.5, "learning_rate": 0.1, "tokens": 640, )"
                         R"("tokens_per_second": 12345.6, "gradient_norm": 1.5, "seconds": 65}
{"step": 20, "loss": null, "learning_rate": 0.2, "tokens": 1280, "tokens_per_second": 12345.6}
{"step": 20, "eval": {"task": {"loss": 2.1, "accuracy": 0.5}, "longer": {"accuracy": 0.25}}}
)");
    put("recipe.yaml", "name: <small> & 'quoted'\nmodel: {width: 8}\ntrain: {steps: 40}\n");
    put("environment.json",
        R"({"version": "0.1.0", "command": ["./echo", "train", "my recipe.yaml"]})");
  }

  void put(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  void finish() {
    put("summary.json", R"({"step": 40, "metric": "accuracy", "best": 0.75, "steps_to_solve": 1200,
        "parameters": 123456, "tokens": 2560, "tokens_per_second": 1000, "seconds": 130,
        "final": {"task": {"length": 64, "state_bytes": 2048, "split": "test", "samples": 500,
                           "scores": {"accuracy": 0.625}, "levels": {"key-blind": 0.125}}}})");
  }
  std::string page() {
    write_report(folder_.path());
    std::ifstream file(folder_ / "report.html");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  nlohmann::json data() {
    const std::string text = page();
    const std::string open = R"(<script type="application/json" id="data">)";
    const size_t begin = text.find(open) + open.size();
    return nlohmann::json::parse(text.substr(begin, text.find("</script>", begin) - begin));
  }

  testing_run::TemporaryFolder folder_;
};

TEST_F(ReportTest, NeedsNoOtherFileAndNoNetwork) {
  const std::string text = page();
  EXPECT_THAT(text, HasSubstr("Chart.js v"));
  EXPECT_THAT(text, Not(HasSubstr("<script src")));
  EXPECT_THAT(text, Not(HasSubstr("rel=\"stylesheet\"")));
  EXPECT_THAT(text, Not(HasSubstr("@import")));
  EXPECT_THAT(text, Not(HasSubstr("{{")));
}

TEST_F(ReportTest, EscapesWhatTheUserWrote) {
  const std::string text = page();
  EXPECT_THAT(text, HasSubstr("<title>&lt;small&gt; &amp; &#39;quoted&#39;</title>"));
  EXPECT_THAT(text, Not(HasSubstr("<small> &")));
}

TEST_F(ReportTest, SaysHowFarAnUnfinishedRunIs) {
  EXPECT_THAT(page(), HasSubstr("not finished: step 20 of 40"));
}

TEST_F(ReportTest, ShowsResultsOfAFinishedRun) {
  finish();
  const std::string text = page();
  EXPECT_THAT(text, HasSubstr("<dt>Final accuracy</dt><dd>0.625<small>test set</small></dd>"));
  EXPECT_THAT(text, HasSubstr("<dt>Steps to solve</dt><dd>1\u202f200</dd>"));
  EXPECT_THAT(text, HasSubstr("<dt>Parameters</dt><dd>123\u202f456</dd>"));
  EXPECT_THAT(text, HasSubstr("<dt>State</dt><dd>2.0 KiB"));
  EXPECT_THAT(text, HasSubstr("<dt>Time</dt><dd>2:10"));
}

TEST_F(ReportTest, GivesTheCommandThatRepeatsTheRun) {
  const std::string text = page();
  EXPECT_THAT(text, HasSubstr("/recipe.yaml --run " + folder_.path().string() + "-again"));
  EXPECT_THAT(text, HasSubstr("./echo train &#39;my recipe.yaml&#39;"));
}

TEST_F(ReportTest, HasAChartForEveryQuantity) {
  std::vector<std::string> titles;
  for (const auto& chart : data()) titles.push_back(chart["title"]);
  EXPECT_THAT(titles, testing::ElementsAre("Loss", "Accuracy", "Learning rate", "Gradient norm",
                                           "Tokens per second"));
}

TEST_F(ReportTest, KeepsTasksApartAndTheOwnOneFirst) {
  std::vector<std::string> names;
  for (const auto& chart : data()) {
    if (chart["id"] != "accuracy") continue;
    for (const auto& series : chart["series"]) names.push_back(series["name"]);
  }
  EXPECT_THAT(names, testing::ElementsAre("validation", "validation, longer"));
}

TEST_F(ReportTest, DrawsNoScoreThatNeverChanges) {
  put("metrics.jsonl", R"({"step": 10, "eval": {"task": {"loss": 2.1, "share": 0.5}}}
{"step": 20, "eval": {"task": {"loss": 2.0, "share": 0.5}}}
)");
  ASSERT_EQ(data().size(), 1u);
  EXPECT_EQ(data()[0]["id"], "loss");
}

TEST_F(ReportTest, DrawsTheLevelOfChance) {
  finish();
  EXPECT_THAT(data().dump(), HasSubstr("key-blind 0.125"));
}

TEST_F(ReportTest, LeavesAGapWhereALossWasNotFinite) {
  const nlohmann::json loss = data()[0];
  EXPECT_EQ(loss["series"][0]["points"].dump(), "[[10.0,2.5],[20.0,null]]");
  EXPECT_THAT(loss["text"].get<std::string>(), HasSubstr("not finite at one step"));
}

TEST_F(ReportTest, ShowsASampleOfText) {
  put("sample.json", R"({"prompt": "In the ", "text": "<beginning>", "note": "greedy"})");
  EXPECT_THAT(page(), HasSubstr("<b>In the </b>&lt;beginning&gt;"));
}

TEST_F(ReportTest, NamesThePluginsThatAreNoPartOfTheProgram) {
  put("environment.json",
      R"({"plugins": [{"name": "adamw", "version": "0.1", "builtin": true, "path": "/in/adamw.so"},
  {"name": "ours", "version": "0.2", "builtin": false, "path": "/out/ours.so", "sha256": "ab12",
   "fingerprint": "plugin=ours;kinds=ours/a,ours/b"}], "resumed": [{"from_step": 7, "plugins": [
  {"name": "ours", "version": "0.2", "builtin": false, "path": "/out/ours.so", "sha256": "ab12"},
  {"name": "ours", "version": "0.3", "builtin": false, "path": "/out/ours.so", "sha256": "cd34",
   "fingerprint": "plugin=ours;kinds=ours/a"}]}]})");
  EXPECT_THAT(page(), HasSubstr("<section><h2>Plugins</h2><dl class=\"facts\">"
                                "<div><dt>ours 0.2</dt><dd>ours/a, ours/b\n"
                                "<code>/out/ours.so\nSHA-256 ab12</code></dd></div>\n"
                                "<div><dt>ours 0.3</dt><dd>after step 7: ours/a\n"
                                "<code>/out/ours.so\nSHA-256 cd34</code></dd></div>\n"
                                "</dl></section>"));
}

TEST_F(ReportTest, HasNoSectionOfPluginsWithoutOne) {
  EXPECT_THAT(page(), Not(HasSubstr("<h2>Plugins</h2>")));
}

TEST_F(ReportTest, IsWrittenForARunThatHasMeasuredNothing) {
  put("metrics.jsonl", "");
  EXPECT_THAT(page(), HasSubstr("Nothing has been measured yet."));
}

TEST_F(ReportTest, IsWrittenWithoutRecipeAndEnvironment) {
  std::filesystem::remove(folder_ / "recipe.yaml");
  std::filesystem::remove(folder_ / "environment.json");
  EXPECT_THAT(page(), HasSubstr(folder_.path().filename().string()));
}

TEST_F(ReportTest, RefusesAFolderWithoutMetrics) {
  std::filesystem::remove(folder_ / "metrics.jsonl");
  try {
    page();
    FAIL();
  } catch (const Error& mistake) {
    EXPECT_THAT(mistake.what(), HasSubstr("metrics.jsonl, so there is nothing to report"));
  }
}

}  // namespace
}  // namespace echo
