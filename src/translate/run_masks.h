#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "syncdr/data/dataset.h"
#include "syncdr/translate/translator.h"

namespace syncdr::translate {

/// Which pixels of a run's source images are the object: their alpha channel, or a mask file for each.
class RunMasks {
 public:
  RunMasks() = default;  ///< none
  /// masks: "alpha", or a file of lines KEY<tab>PATH, where PATH begins at the file's folder if it is not absolute; "": none. Throws DataError: a line or a
  /// file is missing, or the images' codec has no alpha.
  RunMasks(const std::string& masks, const data::ShardList& rows);

  bool given() const { return alpha_ || !files_.empty(); }
  /// The mask of a row whose image is given, into plane [size, size] uint8: 255 where the object is, else 0. A mask of another size is resized as the image.
  /// Of a mask file its alpha counts if it has some, else how bright it is; from the middle on it is the object.
  /// Throws DataError naming the file: it is broken, has another shape than the image, or no object; the image has no alpha.
  void fill(int64_t row, const data::Image& image, at::Tensor plane) const;
  /// "masks": "alpha", or a hash of all masks in the rows' order. Reads them all.
  std::map<std::string, std::string> provenance() const;

 private:
  bool alpha_ = false;
  std::vector<std::filesystem::path> files_;  // by row
};

/// config.elite.masks of the rows, for a translator that takes some.
RunMasks masks_for(const TranslateConfig& config, bool takes_masks, const data::ShardList& rows);

}  // namespace syncdr::translate
