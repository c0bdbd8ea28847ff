#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "commands.h"
#include "syncdr/search/server.h"

/// Features of images, and what is found with them.
namespace syncdr::app {

/// Which features: of an arm, in a folder.
struct FeatureOptions {
  std::string arm;                           ///< empty: run.main
  std::string folder;                        ///< empty: OUT/embeddings/ARM
  std::vector<std::string> domains, splits;  ///< empty: all
};

int embed_command(const CommonOptions& options, const FeatureOptions& features, int64_t rows);

struct SearchOptions {
  std::vector<std::string> pictures, texts;
  int64_t k = 10;
  std::string tokenizer;  ///< folder; empty: that of the weights
  std::string sheet;      ///< file; empty: none
};
int search_command(const CommonOptions& options, const FeatureOptions& features, const SearchOptions& search);

int serve_command(const CommonOptions& options, const FeatureOptions& features, const std::string& tokenizer, const search::ServerOptions& server);

}  // namespace syncdr::app
