#include "bank_files.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace syncdr::retrieval {
namespace {

struct BankFiles : testing::Test {
  const TemporaryFolder folder;
  const at::Tensor rows = at::randn({10, 3});
  std::vector<MemoryBank> banks;

  BankFiles() {
    banks.emplace_back(at::zeros({4, 3}));
    banks.emplace_back(at::zeros({10, 3}));
  }
  void write(int64_t first, int64_t last) {
    io::write_safetensors(folder.path() / fmt::format("bank.1.{}-{}.safetensors", first, last), {{"rows", rows.slice(0, first, last)}});
  }
  void restore() { restore_banks({{"bank.0", at::ones({4, 3})}}, folder.path(), banks); }
};

TEST_F(BankFiles, PartsOfAnyNumberOfRanksMakeABank) {
  write(7, 10);
  write(0, 3);
  write(3, 7);
  restore();
  EXPECT_TRUE(banks[0].rows().equal(at::ones({4, 3})));
  EXPECT_TRUE(banks[1].rows().equal(rows));
}

TEST_F(BankFiles, AReplicatedBankIsATensor) {
  io::NamedTensors tensors;
  put_banks(tensors, banks);
  EXPECT_EQ(tensors.size(), 2u);
  EXPECT_TRUE(tensors.at("bank.1").equal(banks[1].rows()));
  save_bank_parts(folder.path(), banks);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST_F(BankFiles, MissingRowsAreSaid) {
  EXPECT_ERROR(restore(), core::DataError, "memory bank 1 has 0 rows without a gap, the training set 10 entries");
  write(0, 3);
  write(4, 10);
  EXPECT_ERROR(restore(), core::DataError, "has 3 rows without a gap");
}

TEST_F(BankFiles, RowsThatDoNotFitAreRefused) {
  io::write_safetensors(folder.path() / "bank.1.0-10.safetensors", {{"rows", at::zeros({10, 2})}});
  EXPECT_ERROR(restore(), core::DataError, "bank.1.0-10.safetensors: 10 x 2 numbers of a memory bank, not 10 x 3");
  EXPECT_ERROR(restore_banks({{"bank.0", at::ones({5, 3})}}, folder.path(), banks), core::DataError, "bank.0: 5 x 3 numbers of a memory bank, not 4 x 3");
  io::write_safetensors(folder.path() / "bank.1.0-10.safetensors", {{"row", at::zeros({10, 3})}});
  EXPECT_ERROR(restore(), core::DataError, "holds no rows");
}

}  // namespace
}  // namespace syncdr::retrieval
