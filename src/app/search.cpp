#include "search.h"

#include <unistd.h>

#include <boost/json/array.hpp>
#include <cstdio>
#include <optional>

#include "syncdr/core/log.h"
#include "syncdr/core/stop.h"
#include "syncdr/io/hash.h"
#include "syncdr/search/answer.h"
#include "syncdr/search/embed.h"
#include "with_job.h"

namespace syncdr::app {
namespace {

namespace fs = std::filesystem;

/// The arm whose encoder makes the features.
Arm arm_of(const Settings& settings, const FeatureOptions& features) {
  Arm arm(features.arm.empty() ? main_arm(settings) : features.arm);
  if (arm.plain && !arm.plain->centre.empty())
    throw core::UsageError("the arm {} takes the mean of all images of a domain off, and a query comes alone: take --arm untrained", arm.name);
  return arm;
}

fs::path folder_of(const Settings& settings, const FeatureOptions& features) {
  return features.folder.empty() ? fs::path(settings.run.out) / "embeddings" / arm_of(settings, features).folder() : fs::path(features.folder);
}

search::Model model_of(comm::World& world, const Settings& settings, const Arm& arm) {
  const auto& train = settings.train;
  if (!arm.trained()) {
    const std::string weights = train.encoder.weights.empty() ? "random weights" : train.encoder.weights;
    return search::make_model(retrieval::untrained_encoder(train.encoder, static_cast<uint64_t>(settings.seed)), train.encoder, train.augment,
                              fmt::format("{}, untrained ({})", train.encoder.name, weights), world.device());
  }
  const fs::path folder = fs::path(settings.run.out) / "train" / arm.folder(), file = folder / "encoder.safetensors";
  for (const fs::path& needed : {file, folder / "done.json"})
    if (!fs::exists(needed))
      throw core::DataError("{}: is not there: `syncdr train CONFIG --arm {}` makes it. --arm untrained is the encoder before training", needed.string(),
                            arm.name);
  retrieval::EncoderConfig config;
  const auto encoder = retrieval::load_encoder(file, &config);
  return search::make_model(encoder, config, train.augment, file.string(), world.device());
}

/// The text side of an encoder that shares its space.
search::TextTower text_of(const Settings& settings, const Arm& arm, const std::string& tokenizer, int64_t dim) {
  if (arm.trained())
    throw core::UsageError("the arm {} was trained on pictures alone, so texts cannot be searched for with it. Take --arm untrained", arm.name);
  const auto& encoder = settings.train.encoder;
  if (encoder.weights.empty()) throw core::UsageError("train.encoder.weights is not set, and random weights know no texts");
  const fs::path weights = encoder.weights;
  search::TextTower text(weights, tokenizer.empty() ? weights.parent_path() : fs::path(tokenizer), encoder.name);
  if (text.dim() != dim)
    throw core::DataError("{}: its text side gives {} features, {} gives {} of a picture: take the encoder with CLIP's projection", weights.string(),
                          text.dim(), encoder.name, dim);
  return text;
}

/// The gallery of a folder, whose features this model can be compared with.
search::Gallery gallery_of(const Settings& settings, const FeatureOptions& features, const search::Model& model, uint64_t memory) {
  search::Gallery gallery(folder_of(settings, features), {.domains = features.domains, .splits = features.splits, .memory = memory});
  search::expect_features_of(model, gallery.index().settings, (gallery.folder() / search::FeatureIndex::name).string());
  return gallery;
}

/// Names are those that images had when their features were made. The dataset need not be there.
void warn_of_changes(const Settings& settings, const search::Gallery& gallery) {
  const fs::path file = fs::path(settings.data.root) / "dataset.json";
  const auto made_of = gallery.index().settings.find("dataset");
  if (!fs::exists(file) || (made_of != gallery.index().settings.end() && made_of->second == io::hash_file(file))) return;
  core::warn("{}: its features were made of another dataset than {} is now: names and categories are those of then. Run `syncdr embed` into another folder",
             gallery.folder().string(), settings.data.root);
}

void expect_one_rank(const comm::World& world, const char* command) {
  if (world.size() > 1) throw core::UsageError("syncdr {} runs on one rank, here are {}", command, world.size());
}

boost::json::object embed(Job& job, const FeatureOptions& features, int64_t rows) {
  const search::EmbedOptions options{.domains = features.domains.empty() ? job.domains : features.domains,
                                     .splits = features.splits,
                                     .folder = folder_of(job.settings, features),
                                     .rows = rows,
                                     .batch = job.settings.evaluate.batch};
  const Phase phase{.name = "embed", .marks = [](const Job&, const std::string& folder) { return std::vector{fs::path(folder) / search::FeatureIndex::name}; }};
  check_resume(job, phase, options.folder.string());
  search::Model model = model_of(job.world, job.settings, arm_of(job.settings, features));
  const auto result = search::embed_dataset(job.world, model, job.dataset, options);
  core::info("features: {} images in {} files, {} of them anew, by {}: {}", result.images + result.skipped, result.parts, result.images, model.name,
             options.folder.string());
  return {{"folder", options.folder.string()}, {"model", model.hash()}, {"dim", model.dim},          {"images", result.images},
          {"skipped", result.skipped},         {"files", result.parts}, {"seconds", result.seconds}, {"ranks", job.world.size()}};
}

/// What shows before anything is read.
void check_search(const SearchOptions& options) {
  if (options.pictures.empty() && options.texts.empty())
    throw core::UsageError("there is nothing to search with: name pictures with --query, or texts with --text");
  if (options.k < 1) throw core::UsageError("-k {}: at least one image is to be found", options.k);
  if (!options.sheet.empty() && fs::path(options.sheet).extension() != ".html")
    throw core::UsageError("--sheet {}: a sheet is a page; let its name end in .html", options.sheet);
}

boost::json::object search_for(comm::World& world, const Settings& settings, const FeatureOptions& features, const SearchOptions& options) {
  expect_one_rank(world, "search");
  check_search(options);
  const Arm arm = arm_of(settings, features);
  std::vector<search::Answer> answers;
  std::vector<data::Image> images;
  for (const auto& file : options.pictures) {
    images.push_back(search::read_query(file, settings.train.augment.resize));
    answers.push_back({.query = file});
    if (!options.sheet.empty()) answers.back().picture = search::read_query(file, search::sheet_side);
  }
  search::Model model = model_of(world, settings, arm);
  search::Gallery gallery = gallery_of(settings, features, model, 0);
  std::optional<search::GalleryPictures> pictures;
  if (!options.sheet.empty()) pictures.emplace(data::Dataset(settings.data.root), gallery);
  else warn_of_changes(settings, gallery);
  std::vector<at::Tensor> queries;
  if (!images.empty()) queries.push_back(search::features_of(model, images, world.device()));
  if (!options.texts.empty()) {
    queries.push_back(text_of(settings, arm, options.tokenizer, model.dim).features(options.texts));
    for (const auto& text : options.texts) answers.push_back({.query = text});
  }
  auto matches = gallery.search(at::cat(queries).to(world.device()), options.k);
  boost::json::array figures;
  for (size_t i = 0; i < answers.size(); ++i) {
    answers[i].matches = std::move(matches[i]);
    figures.emplace_back(boost::json::object{
        {"query", answers[i].query}, {"kind", i < images.size() ? "picture" : "text"}, {"matches", search::to_json(gallery, answers[i].matches)}});
  }
  fmt::print("{}", search::table_text(gallery, answers));
  if (pictures) search::write_sheet(options.sheet, gallery, *pictures, answers);
  return {{"features", gallery.folder().string()}, {"model", model.hash()}, {"images", gallery.rows()}, {"k", options.k}, {"queries", std::move(figures)}};
}

/// A quarter of this machine's memory.
uint64_t memory_for_features() { return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE)) / 4; }

boost::json::object serve(comm::World& world, const Settings& settings, const FeatureOptions& features, const std::string& tokenizer,
                          const search::ServerOptions& options) {
  expect_one_rank(world, "serve");
  const Arm arm = arm_of(settings, features);
  search::Model model = model_of(world, settings, arm);
  search::Gallery gallery = gallery_of(settings, features, model, memory_for_features());
  search::GalleryPictures pictures(data::Dataset(settings.data.root), gallery);
  std::optional<search::TextTower> text;
  try {
    text.emplace(text_of(settings, arm, tokenizer, model.dim));
  } catch (const core::Error& error) {  // the page then takes pictures alone
    if (!tokenizer.empty()) throw;
    core::info("no search by words. {}", error.what());
  }
  search::Server server(model, gallery, pictures, text ? &*text : nullptr, world.device(), options);
  if (options.host != "127.0.0.1" && options.host != "localhost" && options.host != "::1")
    core::warn("everybody who reaches {} can search, and see the pictures", options.host);
  fmt::print("{}\n", server.address());
  std::fflush(stdout);
  core::info("searching {} images at {}; Ctrl-C ends it", gallery.rows(), server.address());
  server.run(core::stop_requested);
  core::info("ended on request");
  return {};
}

}  // namespace

int embed_command(const CommonOptions& options, const FeatureOptions& features, int64_t rows) {
  return with_job(options, [&](Job& job) { return embed(job, features, rows); });
}

int search_command(const CommonOptions& options, const FeatureOptions& features, const SearchOptions& search) {
  return with_world(options, [&](comm::World& world, const Settings& settings) { return search_for(world, settings, features, search); });
}

int serve_command(const CommonOptions& options, const FeatureOptions& features, const std::string& tokenizer, const search::ServerOptions& server) {
  return with_world(options, [&](comm::World& world, const Settings& settings) { return serve(world, settings, features, tokenizer, server); }, "INT");
}

}  // namespace syncdr::app
