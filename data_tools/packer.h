#pragma once
#include "commands.h"
#include "pack_sources.h"
#include "syncdr/comm/world.h"

namespace syncdr::data_tools {

/// Packs the images, whose splits are settled, into options.out; the ranks share the shards. A collective; options.split and sources are rank 0's, the others
/// get what they need. A call that was interrupted is finished by the next one: shards that are sealed and hold the same images are kept. The bytes depend on
/// the images and options alone. Throws UsageError if the folder holds something else, DataError if more images are broken than options allow.
void pack_images(comm::World& world, const PackOptions& options, Sources& sources);

/// Runs work on rank 0 while the others wait, however long it takes (World::root_only has a deadline). A collective; an Error is thrown on every rank.
void root_at_length(comm::World& world, const std::string& what, const std::function<void()>& work);

}  // namespace syncdr::data_tools
