#include "syncdr/io/hdf5.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "support/in_child.h"
#include "support/temporary_folder.h"
#include "syncdr/core/error.h"
#include "syncdr/io/atomic_file.h"

using namespace syncdr;
using test::put;

namespace {

void write_sample(const std::filesystem::path& path) {
  io::Hdf5Writer file(path);
  file.attribute("name", std::string("h\u00e9"));
  file.attribute("long", std::string(200000, 'x'));  // above the 64 KiB of the oldest format
  file.attribute("none", std::string());
  file.attribute("version", int64_t{-7});
  file.write("/a/u8", std::vector<uint8_t>{1, 255});
  file.write("/a/u32", std::vector<uint32_t>{1, 0xFFFFFFFF});
  file.write("/a/b/u64", std::vector<uint64_t>{1, ~uint64_t{0}});
  file.write("/i32", std::vector<int32_t>{-1, 2});
  file.write("/i64", std::vector<int64_t>{-1, int64_t{1} << 62});
  file.write("/text", std::vector<std::string>{"", "a/b.png", "\u00fcber"});
  file.write("/empty/i32", std::vector<int32_t>{});
  file.write("/empty/text", std::vector<std::string>{});
  const std::vector<uint8_t> first{1, 2}, none, last{3, 4, 5};
  file.write_parts("/parts", {first, none, last});
  file.close();
}

TEST(Hdf5, LocksOfOthersAreNoHindrance) {
  const TemporaryFolder folder;
  write_sample(folder / "x.h5");
  const int other = ::open((folder / "x.h5").c_str(), O_RDWR);
  ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(io::Hdf5Reader(folder / "x.h5").int_attribute("version"), -7);
  EXPECT_NO_THROW(write_sample(folder / "x.h5"));
  ::close(other);
}

TEST(Hdf5, EverythingComesBackEqual) {
  const TemporaryFolder folder;
  write_sample(folder / "x.h5");
  const io::Hdf5Reader file(folder / "x.h5");
  EXPECT_EQ(file.string_attribute("name"), "h\u00e9");
  EXPECT_EQ(file.string_attribute("long"), std::string(200000, 'x'));
  EXPECT_EQ(file.string_attribute("none"), "");
  EXPECT_EQ(file.int_attribute("version"), -7);
  EXPECT_EQ(file.read<uint8_t>("/a/u8"), (std::vector<uint8_t>{1, 255}));
  EXPECT_EQ(file.read<uint32_t>("/a/u32"), (std::vector<uint32_t>{1, 0xFFFFFFFF}));
  EXPECT_EQ(file.read<uint64_t>("/a/b/u64"), (std::vector<uint64_t>{1, ~uint64_t{0}}));
  EXPECT_EQ(file.read<int32_t>("/i32"), (std::vector<int32_t>{-1, 2}));
  EXPECT_EQ(file.read<int64_t>("/i64"), (std::vector<int64_t>{-1, int64_t{1} << 62}));
  EXPECT_EQ(file.read<std::string>("/text"), (std::vector<std::string>{"", "a/b.png", "\u00fcber"}));
  EXPECT_TRUE(file.read<int32_t>("/empty/i32").empty());
  EXPECT_TRUE(file.read<std::string>("/empty/text").empty());
  EXPECT_EQ(file.read<uint8_t>("/parts"), (std::vector<uint8_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(file.extent("/parts").bytes, 5u);
  EXPECT_TRUE(file.has("/a/b/u64") && file.has_attribute("name"));
  EXPECT_FALSE(file.has("/a/none") || file.has("/none/at/all") || file.has_attribute("nothing"));
}

TEST(Hdf5, EqualCallsGiveEqualBytesEvenLater) {
  const TemporaryFolder folder;
  write_sample(folder / "1.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // time stamps count seconds
  write_sample(folder / "2.h5");
  EXPECT_TRUE(io::read_file(folder / "1.h5") == io::read_file(folder / "2.h5"));
}

TEST(Hdf5, WrongNamesAndTypesAreNamed) {
  const TemporaryFolder folder;
  write_sample(folder / "x.h5");
  const io::Hdf5Reader file(folder / "x.h5");
  EXPECT_ERROR(file.read<uint8_t>("/none"), core::DataError, "x.h5: /none: is missing");
  EXPECT_ERROR(file.read<uint8_t>("/i32"), core::DataError, "/i32: is not of type uint8_t");
  EXPECT_ERROR(file.read<int64_t>("/a/b/u64"), core::DataError, "is not of type int64_t");
  EXPECT_ERROR(file.read<std::string>("/i32"), core::DataError, "strings of fixed length");
  EXPECT_ERROR(file.read<int32_t>("/a"), core::DataError, "no dataset");
  EXPECT_ERROR(file.int_attribute("name"), core::DataError, "no integer");
  EXPECT_ERROR(file.string_attribute("version"), core::DataError, "no string");
  EXPECT_ERROR(file.string_attribute("nothing"), core::DataError, "missing");
}

// What others may write into a file: each dataset must be refused with a reason.
TEST(Hdf5, ForeignLayoutsLinksAndShapesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = (folder / "x.h5").string();
  put(folder / "outside.bin", std::string(64, 's'));
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t sides[2] = {4, 4};
  const std::vector<uint8_t> values(16, 1);
  const auto make = [&](const char* name, int rank, hid_t type, hid_t settings, bool write) {
    const hid_t space = H5Screate_simple(rank, sides, nullptr);
    const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, settings, H5P_DEFAULT);
    ASSERT_GE(dataset, 0) << name;
    if (write) H5Dwrite(dataset, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(dataset);
    H5Sclose(space);
  };
  const hid_t chunked = H5Pcreate(H5P_DATASET_CREATE), compact = H5Pcreate(H5P_DATASET_CREATE), external = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 2;
  H5Pset_chunk(chunked, 1, &chunk);
  H5Pset_deflate(chunked, 1);
  H5Pset_layout(compact, H5D_COMPACT);
  H5Pset_external(external, (folder / "outside.bin").c_str(), 0, 4);
  make("chunked", 1, H5T_STD_U8LE, chunked, true);
  make("compact", 1, H5T_STD_U8LE, compact, true);
  make("external", 1, H5T_STD_U8LE, external, false);
  make("square", 2, H5T_STD_U8LE, H5P_DEFAULT, true);
  make("unwritten", 1, H5T_STD_U8LE, H5P_DEFAULT, false);
  make("big_endian", 1, H5T_STD_U32BE, H5P_DEFAULT, true);
  H5Lcreate_soft("/square", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "/image", file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT);
  for (hid_t settings : {chunked, compact, external}) H5Pclose(settings);
  H5Fclose(file);

  const io::Hdf5Reader reader(path);
  EXPECT_ERROR(reader.read<uint8_t>("/chunked"), core::DataError, "not contiguous");
  EXPECT_ERROR(reader.read<uint8_t>("/compact"), core::DataError, "not contiguous");
  EXPECT_ERROR(reader.read<uint8_t>("/external"), core::DataError, "another file");
  EXPECT_ERROR(reader.read<uint8_t>("/square"), core::DataError, "one dimension");
  EXPECT_ERROR(reader.read<uint8_t>("/unwritten"), core::DataError, "never written");
  EXPECT_ERROR(reader.read<uint32_t>("/big_endian"), core::DataError, "little-endian");
  EXPECT_ERROR(reader.read<uint8_t>("/soft"), core::DataError, "links are not followed");
  EXPECT_ERROR(reader.read<uint8_t>("/elsewhere/data"), core::DataError, "links are not followed");
}

TEST(Hdf5, EveryTruncationIsRefusedWithoutACrash) {
  const TemporaryFolder folder;
  write_sample(folder / "x.h5");
  const std::string whole = io::read_file(folder / "x.h5");
  const int status = test::in_child(10, [&] {
    for (size_t size = 0; size < whole.size(); size += 1 + size / 40) {
      put(folder / "cut.h5", whole.substr(0, size));
      try {
        io::Hdf5Reader(folder / "cut.h5").read<uint8_t>("/parts");
        return 1;
      } catch (const core::DataError&) {
      }
    }
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// The metadata of the 1.8 format has checksums: a flipped bit there is an error, not another answer. (Values are covered by checksums of the shard.)
TEST(Hdf5, FlippedBitsOfMetadataNeverChangeAnAnswer) {
  const TemporaryFolder folder;
  {
    io::Hdf5Writer file(folder / "x.h5");
    file.attribute("name", std::string("abcdef"));
    file.close();
  }
  const std::string whole = io::read_file(folder / "x.h5");
  const int status = test::in_child(10, [&] {
    for (size_t bit = 0; bit < whole.size() * 8; bit += 3) {
      std::string broken = whole;
      broken[bit / 8] = static_cast<char>(broken[bit / 8] ^ (1 << (bit % 8)));
      put(folder / "flip.h5", broken);
      try {
        if (io::Hdf5Reader(folder / "flip.h5").string_attribute("name") != "abcdef") return 1;
      } catch (const core::DataError&) {
      }
    }
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Hdf5, FullDiskIsAnIoError) {
  const TemporaryFolder folder;
  // Each limit ends the file at another place: in the data, or in the metadata that is written on closing.
  for (rlim_t limit : {rlim_t{0}, rlim_t{100}, rlim_t{1000}, rlim_t{50000}, rlim_t{200000}}) {
    const int status = test::in_child(10, [&] {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit both{limit, limit};
      setrlimit(RLIMIT_FSIZE, &both);
      try {
        write_sample(folder / "x.h5");
      } catch (const core::IoError&) {
        return 7;
      }
      return 0;
    });
    EXPECT_TRUE(WIFEXITED(status)) << limit << ": signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 7) << limit;
  }
}

TEST(Hdf5, ThreadsMayWriteAndReadFilesOfTheirOwn) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto path = folder / std::to_string(t);
      for (int i = 0; i < 20; ++i) {
        write_sample(path);
        good += io::Hdf5Reader(path).read<uint8_t>("/parts").size() == 5;
        try {
          io::Hdf5Reader(path).read<uint8_t>("/none");
        } catch (const core::DataError&) {
          ++good;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4 * 20 * 2);
}

TEST(Hdf5, AFileThatIsNoHdf5IsRefused) {
  const TemporaryFolder folder;
  put(folder / "x.h5", "no HDF5 at all");
  EXPECT_ERROR(io::Hdf5Reader(folder / "x.h5"), core::DataError, "x.h5: is no complete HDF5 file");
  EXPECT_ERROR(io::Hdf5Reader(folder / "none.h5"), core::DataError, "No such file");
  EXPECT_ERROR(io::Hdf5Writer(folder / "none/x.h5"), core::IoError, "creating the file failed");
}

}  // namespace
