#include <CLI/CLI.hpp>

#include "commands.h"
#include "syncdr/core/error.h"

namespace syncdr::data_tools {
namespace {

void add_pack(CLI::App& program, PackOptions& options) {
  auto* command = program.add_subcommand("pack", "make a dataset of folders, lists, tables or archives of images; ranks of mpirun share the work");
  command->add_option("sources", options.sources,
                      "folders that hold DOMAIN/CATEGORY/IMAGE.jpg (png, webp, tiff), DOMAIN/IMAGE.jpg or DOMAIN/train|val|test/CATEGORY/IMAGE.jpg");
  command
      ->add_option("--list", options.list.lists,
                   "DOMAIN:SPLIT=FILE: a list with a line \"path label\" per image, or \"path\" of one to train on; may be given often")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--table", options.list.tables,
                   "a CSV or TSV file with the columns path, domain and, if known, split, category or label, prompt, mask; may be given often")
      ->expected(1)
      ->take_all();
  command->add_option("--tar", options.list.tars, "DOMAIN:SPLIT=FILE: a shard of WebDataset, of which the image and .cls are taken; may be given often")
      ->expected(1)
      ->take_all();
  command->add_option("--root", options.list.root, "folder that paths of lists and tables are relative to (default: their own)");
  command->add_option("--strip", options.list.strip, "what paths of lists and tables begin with elsewhere; it is taken off");
  command->add_option("-o,--out", options.out, "dataset folder to make")->required();
  command->add_option("--size", options.size, "resize the shorter side and keep the centre square of so many pixels; 0 keeps sizes")
      ->check(CLI::Range(0, 8192));
  command->add_option("--codec", options.codec, "how images are stored; auto: png if all are PNG or TIFF, else jpeg")
      ->check(CLI::IsMember({"auto", "png", "jpeg", "raw"}));
  command->add_option("--rows", options.rows, "images per shard")->check(CLI::Range(1, 1000000));
  command->add_option("--val", options.split.val, "share of validation images (folders)")->check(CLI::Range(0.0, 1.0));
  command->add_option("--test", options.split.test, "share of test images (folders)")->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", options.split.seed, "of the splits and of the halves of categories (folders)");
  auto* halves = command->add_flag("--disjoint", options.halves,
                                   "the two domains train on different halves of the categories (default with two domains, unless the folders name splits)");
  command->add_flag("--no-disjoint", options.whole, "all domains train on all categories")->excludes(halves);
  command->add_flag("--trust", options.trust, "do not decode images that keep their bytes, look at their header and end alone; \"verify\" decodes them");
  command->add_option("--max-bad-share", options.max_bad_share, "share of broken images above which packing stops")->check(CLI::Range(0.0, 1.0));
  command->callback([&options] { pack(options); });
}

void add_inspect(CLI::App& program, InspectOptions& options) {
  auto* command = program.add_subcommand("inspect", "say what a dataset or a single shard holds and how it was made");
  command->add_option("path", options.path, "dataset folder or shard (.h5)")->required();
  command->add_option("--json", options.json, "also write it to this file");
  command->callback([&options] { inspect(options); });
}

void add_verify(CLI::App& program, VerifyOptions& options) {
  auto* command =
      program.add_subcommand("verify", "check every file, checksum and image of a dataset and its translations, and that no image is in two splits");
  command->add_option("dataset", options.root, "dataset folder")->required();
  command->add_option("--json", options.json, "also write the figures and all problems to this file");
  command->add_option("--csv", options.csv, "list images that occur twice, or look alike in two splits, in this file");
  command->add_flag("--allow-copies", options.allow_copies, "the same image may be in two splits");
  command->callback([&options] { verify(options); });
}

void add_emoji(CLI::App& program, EmojiOptions& options) {
  auto* command = program.add_subcommand("emoji", "make the emoji dataset: colour pictures and ink drawings of the same code points, from two fonts");
  command->add_option("-o,--out", options.out, "dataset folder to make")->required();
  command->add_option("--size", options.size, "height and width of a picture in pixels")->check(CLI::Range(16, 512));
  command->add_option("--seed", options.seed, "of all renders and of the halves that train in one domain");
  command->add_option("--val", options.val, "validation pictures of an emoji in each domain")->check(CLI::Range(1, 100));
  command->add_option("--test", options.test, "test pictures of an emoji in each domain")->check(CLI::Range(1, 100));
  command
      ->add_option("--extra", options.extra,
                   "at most so many pictures a domain of glyphs that only one font has, in a split \"extra\": for training translators")
      ->check(CLI::Range(0, 100'000));
  command->add_option("--codec", options.codec, "how pictures are stored")->check(CLI::IsMember({"png", "jpeg", "raw"}));
  command->add_option("--colour-font", options.colour_font, "font with colour bitmaps (default: Debian's fonts-noto-color-emoji)");
  command->add_option("--ink-font", options.ink_font, "font with outlines (default: Debian's fonts-symbola)");
  command->callback([&options] { make_emoji(options); });
}

void add_export(CLI::App& program, ExportOptions& options) {
  auto* command =
      program.add_subcommand("export", "give pictures and translations out: as a sheet to look at, as files in folders, or as shards of WebDataset");
  command->add_option("dataset", options.dataset, "dataset folder")->required();
  command->add_option("--as", options.as, "sheet: one PNG; folders: the stored bytes as files, and pictures.csv; webdataset: tar archives")
      ->check(CLI::IsMember({"sheet", "folders", "webdataset"}));
  command->add_option("--domain", options.domain, "domain of the pictures, or that they were translated from (default: all; a sheet needs one)");
  command->add_option("--split", options.split, "split of the pictures (default: all; a sheet: train)");
  command->add_option("--to", options.to, "with --run: the domain into which the pictures were translated");
  command->add_option("--run", options.run, "a translation. sheet: each picture is followed by what it became; else its pictures are given out");
  command->add_option("--count", options.count, "sheet: pictures, spread evenly over the split")->check(CLI::Range(1, 10'000));
  command->add_option("--columns", options.columns, "sheet: pictures and translations in a row; 0: about 16")->check(CLI::Range(0, 1'000));
  command->add_option("--side", options.side, "sheet: height and width of a picture in pixels")->check(CLI::Range(8, 1'024));
  command->add_option("--rows", options.rows, "webdataset: samples per archive")->check(CLI::Range(1, 1'000'000));
  command->add_option("-o,--out", options.out, "PNG file or folder to write")->required();
  command->callback([&options] { options.as == "sheet" ? export_sheet(options) : export_files(options); });
}

void add_convert(CLI::App& program, ConvertOptions& options) {
  auto* command = program.add_subcommand("convert", "turn PyTorch's weights (.pth, .pt, .bin, .ckpt) into safetensors, without running the pickle in them");
  command->add_option("in", options.in, "file of torch.save, a pytorch_model.bin.index.json, or a .safetensors file")->required();
  command->add_option("-o,--out", options.out, "safetensors file to write; of --as stable-diffusion a folder to make")->required();
  command
      ->add_option(
          "--as", options.as,
          "what it must be, or is refused. stable-diffusion (1, 2, InstructPix2Pix): the authors' single file becomes a checkpoint folder of diffusers; "
          "elite: a global mapper; cut: a generator")
      ->check(CLI::IsMember({"stable-diffusion", "elite", "cut"}));
  command->add_option("--tokenizer", options.tokenizer,
                      "stable-diffusion: folder with CLIP's vocab.json and merges.txt (openai/clip-vit-large-patch14, or tokenizer/ of any such checkpoint)");
  command
      ->add_option("--prediction", options.prediction,
                   "stable-diffusion: what the UNet predicts (default: epsilon with CLIP ViT-L/14; with OpenCLIP it must be said, no tensor tells)")
      ->check(CLI::IsMember({"epsilon", "v_prediction"}));
  command->add_flag("--no-ema", options.last_weights, "stable-diffusion: the last step's UNet, where the file has the moving average (model_ema.), too");
  command->add_option("--key", options.key,
                      "where the tensors lie, e.g. state_dict or model.encoder; \".\": the whole file (default: the only dictionary of tensors)");
  command->add_option("--strip", options.strip, "take this off the names that begin with it, e.g. module.");
  command->add_flag("--allow-beside", options.allow_beside,
                    "leave out objects that are neither tensors nor plain values (they are named, not made) instead of refusing; stable-diffusion: also "
                    "tensors of other models beside it");
  command->callback([&options] { convert(options); });
}

int command_line(int argc, char** argv) {
  CLI::App program("syncdr-data: prepares, inspects and checks the datasets of syncdr, and converts weights", "syncdr-data");
  program.require_subcommand(1);
  program.option_defaults()->always_capture_default();
  PackOptions pack_options;
  InspectOptions inspect_options;
  VerifyOptions verify_options;
  EmojiOptions emoji_options;
  ExportOptions export_options;
  ConvertOptions convert_options;
  add_pack(program, pack_options);
  add_inspect(program, inspect_options);
  add_verify(program, verify_options);
  add_emoji(program, emoji_options);
  add_export(program, export_options);
  add_convert(program, convert_options);
  try {
    program.parse(argc, argv);  // runs the chosen command's callback
  } catch (const CLI::ParseError& error) {
    // exit() prints help or the complaint; its own codes are CLI11's, ours are two: asked for help, or wrong usage.
    return static_cast<int>(program.exit(error) == 0 ? core::ExitCode::done : core::ExitCode::usage);
  }
  return 0;
}

}  // namespace
}  // namespace syncdr::data_tools

int main(int argc, char** argv) {
  return syncdr::core::run_main([&] { return syncdr::data_tools::command_line(argc, argv); });
}
