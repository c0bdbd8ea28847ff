#pragma once
#include "commands.h"
#include "pack_sources.h"
#include "team.h"

namespace syncdr::data_tools {

/// Packs the images, whose splits are settled, into options.out; the ranks share the shards. A collective; options.split and sources are rank 0's, the others
/// get what they need. A call that was interrupted is finished by the next one: shards that are sealed and hold the same images are kept. The bytes depend on
/// the images and options alone. Throws UsageError if the folder holds something else, DataError if more images are broken than options allow.
void pack_images(Team& team, const PackOptions& options, Sources& sources);

}  // namespace syncdr::data_tools
