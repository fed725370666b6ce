#include "core/io/open_files.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

namespace shardlens {
namespace {

TEST(OpenFiles, ManyCanBeOpenAfterwards)
{
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit few = before;
    few.rlim_cur = 64;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const std::uint64_t now = allowManyOpenFiles();
    EXPECT_GT(now, 64u);
    std::vector<int> open;
    for (int i = 0; i < 200; ++i)
        if (const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC); file >= 0)
            open.push_back(file);
    EXPECT_EQ(open.size(), 200u);
    for (const int file : open)
        ::close(file);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

} // namespace
} // namespace shardlens
