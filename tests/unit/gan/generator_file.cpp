#include "syncdr/gan/generator_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "syncdr/core/error.h"
#include "syncdr/io/safetensors.h"
#include "syncdr/nn/weights.h"

namespace syncdr::gan {
namespace {

using testing::HasSubstr;

class GeneratorFile : public testing::Test {
 protected:
  GeneratorFile() : folder_(std::filesystem::path(testing::TempDir()) / fmt::format("syncdr-gan-{}", ::getpid())), file_(folder_ / "generator.safetensors") {
    std::filesystem::create_directories(folder_);
    generator_ = Generator(GeneratorConfig{.width = 4, .blocks = 2, .nce_layers = {0, 4, 12}});
    initialise(*generator_, "generator", 1);
  }
  ~GeneratorFile() override { std::filesystem::remove_all(folder_); }

  std::string load_error() const {
    try {
      load_generator(file_);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no DataError";
  }

  std::filesystem::path folder_, file_;
  Generator generator_{nullptr};
};

TEST_F(GeneratorFile, BringsBackConfigurationAndWeights) {
  save_generator(file_, generator_);
  Generator loaded = load_generator(file_);
  EXPECT_EQ(loaded->config().width, 4);
  EXPECT_EQ(loaded->config().blocks, 2);
  EXPECT_THAT(loaded->config().nce_layers, testing::ElementsAre(0, 4, 12));
  EXPECT_EQ(nn::state_hash(*loaded), nn::state_hash(*generator_));
}

TEST_F(GeneratorFile, TakesPublishedWeightsWithTheirFilters) {
  io::NamedTensors tensors = nn::state_of(*generator_);
  const at::Tensor down = at::tensor({1.f, 2.f, 1.f}) / 4, up = at::tensor({1.f, 3.f, 3.f, 1.f}) / 4;
  tensors["model.7.filt"] = at::outer(down, down).expand({8, 1, 3, 3});
  tensors["model.14.filt"] = at::outer(up, up).expand({16, 1, 4, 4});
  io::write_safetensors(file_, tensors);
  EXPECT_EQ(nn::state_hash(*load_generator(file_)), nn::state_hash(*generator_));
}

TEST_F(GeneratorFile, RefusesAnotherResamplingFilter) {
  io::NamedTensors tensors = nn::state_of(*generator_);
  tensors["model.7.filt"] = at::full({8, 1, 3, 3}, 1.0 / 9);
  io::write_safetensors(file_, tensors);
  EXPECT_THAT(load_error(), HasSubstr("\"model.7.filt\" is not the binomial filter"));
}

TEST_F(GeneratorFile, RefusesTensorsOfAnotherModel) {
  io::write_safetensors(file_, {{"conv1.weight", at::zeros({4, 3, 7, 7})}});
  EXPECT_THAT(load_error(), HasSubstr("no CUT generator"));
}

TEST_F(GeneratorFile, NamesFileAndMistakeOfABrokenConfiguration) {
  io::write_safetensors(file_, nn::state_of(*generator_), {{"generator", "width = -3\n"}});
  EXPECT_THAT(load_error(), testing::AllOf(HasSubstr(file_.string()), HasSubstr("width")));
}

TEST_F(GeneratorFile, NamesATensorThatDoesNotFit) {
  io::NamedTensors tensors = nn::state_of(*generator_);
  tensors["model.4.weight"] = at::zeros({8, 4, 5, 5});
  io::write_safetensors(file_, tensors, {{"generator", "width = 4\nblocks = 2\n"}});
  EXPECT_THAT(load_error(), HasSubstr("model.4.weight"));
}

}  // namespace
}  // namespace syncdr::gan
