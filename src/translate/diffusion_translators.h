#pragma once
#include "diffusion_translator.h"

/// The translators that sample from a diffusion model.
namespace syncdr::translate {

/// SDEdit (Meng et al., ICLR 2022) under the target's description.
class Img2ImgTranslator : public DiffusionTranslator {
 public:
  Img2ImgTranslator(const TranslateConfig& config, c10::Device device);
  std::optional<diffusion::PromptKind> prompt_kind() const override { return diffusion::PromptKind::description; }

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> own_settings() const override;
};

/// InstructPix2Pix (Brooks, Holynski and Efros, CVPR 2023).
class InstructTranslator : public DiffusionTranslator {
 public:
  InstructTranslator(const TranslateConfig& config, c10::Device device);
  std::optional<diffusion::PromptKind> prompt_kind() const override { return diffusion::PromptKind::instruction; }

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> own_settings() const override;
};

/// Dual diffusion implicit bridges (Su et al., ICLR 2023): nothing random.
class DdibTranslator : public DiffusionTranslator {
 public:
  DdibTranslator(const TranslateConfig& config, const std::string& source, c10::Device device);
  bool is_random() const override { return false; }
  std::optional<diffusion::PromptKind> prompt_kind() const override { return diffusion::PromptKind::description; }

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> own_settings() const override;
  std::string source_prompt_;
};

/// InstructPix2Pix's layout with the image's structure map in the image's place, from pure noise under the target's description. Such a model is trained
/// without pairs: to paint an image of its own domain from its map.
class StructureTranslator : public DiffusionTranslator {
 public:
  StructureTranslator(const TranslateConfig& config, c10::Device device);
  std::optional<diffusion::PromptKind> prompt_kind() const override { return diffusion::PromptKind::description; }

 private:
  at::Tensor paint(const at::Tensor& images, std::span<const Request> requests) override;
  std::map<std::string, std::string> own_settings() const override;
};

}  // namespace syncdr::translate
