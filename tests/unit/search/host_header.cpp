#include "host_header.h"

#include <gtest/gtest.h>

namespace syncdr::search {
namespace {

TEST(HostHeader, NamesOfOthersThatLeadHereAreRefused) {
  for (const char* own : {"127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LocalHost", "[::1]:8000", "[::1]", "192.168.7.9:80", "gpu7.lab:8000", "GPU7.lab"})
    EXPECT_TRUE(is_own_host(own, "gpu7.lab")) << own;
  for (const char* other : {"", ":8000", "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example:8000", "[evil.example]", "[",
                            "1.2.3", "gpu7.lab.evil.example"})
    EXPECT_FALSE(is_own_host(other, "gpu7.lab")) << other;
}

TEST(HostHeader, PagesOfOthersMayNotPost) {
  for (const char* own : {"http://localhost:8000", "https://LOCALHOST:8000"}) EXPECT_TRUE(is_own_origin(own, "localhost:8000")) << own;
  for (const char* other : {"null", "", "http://evil.example", "http://localhost", "http://localhost:8001", "localhost:8000"})
    EXPECT_FALSE(is_own_origin(other, "localhost:8000")) << other;
}

}  // namespace
}  // namespace syncdr::search
