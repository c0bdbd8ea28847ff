#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "syncdr/comm/world.h"
#include "syncdr/evaluation/evaluate.h"
#include "syncdr/fit/cut.h"
#include "syncdr/fit/diffusion.h"
#include "syncdr/fit/elite_mapper.h"
#include "syncdr/fit/textual_inversion.h"
#include "syncdr/retrieval/trainer.h"
#include "syncdr/translate/translator.h"

namespace syncdr::app {

struct DataSettings {
  std::string root;
  std::vector<std::string> domains;

  void visit(core::Fields& field) {
    field(root, "root", "dataset folder, as `syncdr-data` makes it");
    field(domains, "domains", "two or more domains: every ordered pair is translated, trained on and evaluated; empty: all of the dataset");
  }
};

struct FitSettings {
  fit::CutConfig cut;
  fit::DiffusionFitConfig diffusion;
  fit::TextualInversionConfig textual_inversion;
  fit::EliteMapperConfig elite_mapper;

  void visit(core::Fields& field) {
    field.group(cut, "cut", "contrastive unpaired translation");
    field.group(diffusion, "diffusion", "one latent diffusion model for all domains");
    field.group(textual_inversion, "textual_inversion", "tokens for a diffusion model's text encoder, one for each domain");
    field.group(elite_mapper, "elite_mapper", "ELITE's mapper from images to words, one for all domains");
  }
};

struct RunSettings {
  std::string out;
  std::string title;
  std::vector<std::string> arms = {"cds", "cut"};
  std::string main;

  void visit(core::Fields& field) {
    field(out, "out", "run folder; empty: runs/NAME OF THE CONFIGURATION FILE");
    field(title, "title", "heading of the report");
    field(arms, "arms",
          "rows of the table: untrained (the encoder as it was downloaded, without a head), centred (the same, the mean feature of each domain's training "
          "images taken off), cds (trained on real images alone), a translator, or the name of a translated set that the dataset holds; NAME:K trains on K "
          "variants of each translation, NAME+NAME on the translations of several, of which one is drawn at each access (train.shares)");
    field(main, "main",
          "the arm that is called syncdr in metrics.json; all but it and cds are controls; empty: cut, or without it the first of run.arms with translations");
  }
};

/// An arm that uses no translations.
struct PlainArm {
  std::string name, title;
  bool trained = false;
  std::string centre;  ///< the split whose mean feature is taken off each domain's; empty: none
};
const std::vector<PlainArm>& plain_arms();

/// A translated set that an arm trains on: a translator, or the name of a set that the dataset holds. "NAME:K" trains on K variants of each translation at
/// most.
struct ArmPart {
  std::string base;                            ///< without ":K"
  int64_t variants = 0;                        ///< K; 0: all
  const translate::TranslatorRow* translator;  ///< null: base is none

  /// Throws UsageError if there is no name, or what follows the colon is no number from 1 to 64.
  explicit ArmPart(const std::string& text);
};

/// A row of the table: a plain arm, or the sets that it trains on, with "+" between them.
struct Arm {
  std::string name;            ///< as written
  std::vector<ArmPart> parts;  ///< each of another name; none: plain
  const PlainArm* plain;       ///< null: it is trained with translations

  /// Throws UsageError.
  explicit Arm(const std::string& text);
  bool trained() const { return !plain || plain->trained; }
  bool has(const std::string& base) const;
  /// The name as that of a folder: "structure-1+cut".
  std::string folder() const;
};

/// Every setting of every command: what a configuration file may hold.
struct Settings {
  int64_t seed = 0;
  RunSettings run;
  DataSettings data;
  FitSettings fit;
  translate::TranslateConfig translate;
  retrieval::TrainConfig train;
  evaluation::EvaluateConfig evaluate;
  comm::CommConfig comm;
  std::string stop_signal = "USR2";
  std::string resume = "auto";

  void visit(core::Fields& field) {
    field(seed, "seed", "seed of everything random", core::at_least(0));
    field(stop_signal, "stop_signal", "signal that ends the job at the next place where it can go on later; TERM always does",
          {"USR1", "USR2", "INT", "HUP", "none"});
    field(resume, "resume", "a folder that holds a part of the result: auto goes on from it, never refuses it, require refuses a folder without one",
          {"auto", "never", "require"});
    field.group(run, "run", "the whole job");
    field.group(data, "data", "what it works on");
    field.group(fit, "fit", "training translators");
    field.group(translate, "translate", "translating the training images");
    field.group(train, "train", "training the retrieval model");
    field.group(evaluate, "evaluate", "measuring it");
    field.group(comm, "comm", "ranks and devices");
  }
};

/// train.shares by name. Throws UsageError if one is no share, or its name is no part of an arm.
std::map<std::string, double> shares_of(const Settings& settings);

/// run.main. Throws UsageError if there is none, since no arm has translations.
const std::string& main_arm(const Settings& settings);

/// Reads a configuration file and --set values, and fills in what follows from others (run.out, run.main). Throws UsageError.
Settings read_settings(const std::filesystem::path& file, const std::vector<std::string>& sets);

}  // namespace syncdr::app
