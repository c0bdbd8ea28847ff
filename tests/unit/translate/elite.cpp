#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <set>

#include "diffusion_translators.h"

namespace syncdr::translate {
namespace {

using Elite = DiffusionTranslators;

// With a plain network, and with one that takes an image beside the noise.
TEST_F(Elite, MakesAWordOfTheImage) {
  for (const char* checkpoint : {"plain", "instruct"}) {
    auto settings = config("elite");
    settings.diffusion.checkpoint = (folder / checkpoint).string();
    const std::vector<Request> alike(images_a_batch, request(11));
    const auto usual = make(settings)->translate(images, alike).images;
    EXPECT_FALSE(at::equal(usual[0], usual[1])) << checkpoint << ": all but the images is the same";
    std::set<std::string> seen;
    const auto expect_other = [&](const char* what) {
      const auto other = make(settings)->translate(images, alike).images[0];
      EXPECT_TRUE(seen.emplace(reinterpret_cast<const char*>(other.data_ptr<uint8_t>()), static_cast<size_t>(other.numel())).second) << what;
    };
    expect_other("as it is");
    settings.elite.word = 3;
    expect_other("another word");
    settings.elite.word = -1;
    expect_other("all words");
    settings.elite.strength = 0.5;
    expect_other("from the image");
    settings.diffusion.negative_prompt = "b b";
    expect_other("the negative text");
    settings.elite.guidance = 1;
    expect_other("no guidance");
  }
}

// Of images without an object the image encoder sees black alone: the words are the same.
TEST_F(Elite, ShowsANetworkThatTakesAnImageItsStructureMap) {
  auto settings = config("elite");
  settings.diffusion.checkpoint = (folder / "instruct").string();
  settings.elite.masks = "alpha";
  const auto translated = [&](bool structure, double sigma, const at::Tensor& pictures) {
    settings.elite.structure = structure;
    settings.structure.sigma = {sigma, sigma};
    const auto translator = make(settings);
    EXPECT_EQ(translator->provenance().contains("sigma"), structure);
    return translator->translate(at::cat({pictures, at::zeros({images_a_batch, 1, side, side}, at::kByte)}, 1), requests()).images;
  };
  const at::Tensor seen = translated(true, 1, images), unseen = translated(false, 1, images);
  EXPECT_FALSE(at::equal(seen, unseen));
  EXPECT_FALSE(at::equal(seen, translated(true, 3, images)));
  EXPECT_FALSE(at::equal(seen, translated(true, 1, images.flip(3))));
  EXPECT_TRUE(at::equal(unseen, translated(false, 3, images.flip(3))));
  settings.structure.sigma = {2, 1};
  EXPECT_ERROR(make(settings), core::UsageError, "translate.structure.sigma");
}

// Images [3, 4, S, S] whose object is 5 pixels high and 3 wide, at a place of its own in each.
TEST_F(Elite, SeesTheObjectOfAMask) {
  auto settings = config("elite");
  settings.elite.masks = "alpha";
  const std::vector<Request> alike(images_a_batch, request(11));
  const auto masked = [&](const at::Tensor& surroundings) {
    at::Tensor all = at::cat({surroundings, at::zeros({images_a_batch, 1, side, side}, at::kByte)}, 1);
    for (int64_t i = 0; i < images_a_batch; ++i) {
      at::Tensor object = all[i].narrow(1, 2 + 3 * i, 5).narrow(2, 3 + i, 3);
      object.narrow(0, 0, 3).copy_(images[0].narrow(1, 0, 5).narrow(2, 0, 3));
      object[3].fill_(255);
    }
    return all;
  };
  const auto translated = [&](const at::Tensor& all) { return make(settings)->translate(all, alike).images; };
  const at::Tensor usual = translated(masked(images)), elsewhere = translated(masked(images.flip(3)));
  EXPECT_TRUE(at::equal(usual, elsewhere)) << "the background is not seen";
  EXPECT_TRUE(at::equal(usual[0], usual[1]) && at::equal(usual[0], usual[2])) << "where the object is does not count";
  settings.elite.crop = false;
  const at::Tensor whole = translated(masked(images));
  EXPECT_TRUE(at::equal(whole, translated(masked(images.flip(3)))));
  EXPECT_FALSE(at::equal(whole[0], whole[1]));
  settings.elite.background = "keep";
  EXPECT_FALSE(at::equal(translated(masked(images)), translated(masked(images.flip(3)))));
  settings.elite.masks.clear();
  settings.elite.background = "black";
  EXPECT_FALSE(at::equal(translated(images), translated(images.flip(3))));
  settings.elite.masks = "alpha";
  EXPECT_NO_THROW(translated(at::cat({images, at::zeros({images_a_batch, 1, side, side}, at::kByte)}, 1))) << "as what pads a batch";
}

// The checkpoint's texts have 8 tokens. What is cut is what the words shift over the end, the mark of the end first.
TEST_F(Elite, SaysWhatItsWordsCut) {
  auto settings = config("elite");
  EXPECT_EQ(make(settings)->cut_from("a S b a b a b"), "b");
  EXPECT_NO_THROW(make(settings)->translate(images, std::vector<Request>(images_a_batch, request(11, 0, "a b a b a S"))));
  EXPECT_ERROR(make(settings)->translate(images, std::vector<Request>(images_a_batch, request(11, 0, "a b a b a b S"))), core::DataError,
               "from position 7 of 8 on");
  settings.elite.word = -1;
  const auto translator = make(settings);
  EXPECT_EQ(translator->cut_from("a S b"), "");
  EXPECT_EQ(translator->cut_from("a S b a"), "a");
  EXPECT_NO_THROW(translator->translate(images, std::vector<Request>(images_a_batch, request(11, 0, "a b S"))));
  EXPECT_ERROR(translator->translate(images, std::vector<Request>(images_a_batch, request(11, 0, "a b a S"))), core::DataError, "from position 4 of 8 on");
}

TEST_F(Elite, RefusesFilesThatDoNotFitBeforeTheNetworksAreRead) {
  std::filesystem::remove(folder / "plain/unet/diffusion_pytorch_model.safetensors");
  const auto expect_refused = [&](auto change, const char* text) {
    auto settings = config("elite");
    change(settings.elite);
    EXPECT_ERROR(make(settings), core::Error, text);
  };
  expect_refused([](EliteConfig& c) { c.mapper.clear(); }, "has no mapper. Train one with `syncdr fit elite-mapper`");
  expect_refused([&](EliteConfig& c) { c.mapper = (folder / "none").string(); }, "none");
  expect_refused([](EliteConfig& c) { c.image_encoder.clear(); }, "plain/image_encoder is not there. Set translate.elite.image_encoder");
  const auto refuse_mapper = [&](const diffusion::WordMapper& mapper, const char* text) {
    diffusion::save_word_mapper(folder / "other.safetensors", mapper);
    expect_refused([&](EliteConfig& c) { c.mapper = (folder / "other.safetensors").string(); }, text);
  };
  refuse_mapper(diffusion::TinyElite::make_mapper(7), "other.safetensors: maps hidden states of 7 values, those of the image encoder");
  refuse_mapper(diffusion::TinyElite::make_mapper(6, 10), "makes words of 10 values, the text encoder of");
  auto shallow = diffusion::TinyElite::vision();
  shallow.layers = 15;
  diffusion::TinyElite::put_image_encoder(folder / "shallow", shallow);
  expect_refused([&](EliteConfig& c) { c.image_encoder = (folder / "shallow").string(); }, "maps hidden state 16, the image encoder");
  expect_refused([](EliteConfig&) {}, "unet");
}

}  // namespace
}  // namespace syncdr::translate
