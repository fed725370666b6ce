#include "core/base/result.h"

#include <gtest/gtest.h>

namespace shardlens {
namespace {

Result<int> half(int number)
{
    if (number % 2 != 0)
        return Error{ErrorCode::Refused, "odd: " + std::to_string(number)};
    return number / 2;
}

Result<int> quarter(int number)
{
    SHARDLENS_ASSIGN(const int once, half(number));
    SHARDLENS_ASSIGN(const int twice, half(once));
    return twice;
}

Status check(int number)
{
    const auto refused = [](int) -> Status { return Error{ErrorCode::Corrupt, "bad"}; };
    if (number > 0)
        SHARDLENS_TRY(half(number).ok() ? Status{} : refused(number));
    return {};
}

TEST(Result, HandsErrorsUp)
{
    ASSERT_TRUE(quarter(12));
    EXPECT_EQ(*quarter(12), 3);
    const auto failed = quarter(6);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code(), ErrorCode::Refused);
    EXPECT_EQ(failed.error().text(), "odd: 3");
    EXPECT_TRUE(check(2));
    EXPECT_FALSE(check(3));
}

TEST(Error, NamesItsPlacesFromOutside)
{
    const Error error = Error{ErrorCode::Corrupt, "9 declared, 3 left"}.within("entry 4").within("a.pt");
    EXPECT_EQ(error.text(), "a.pt: entry 4: 9 declared, 3 left");
    EXPECT_EQ(error.sentence(), "a.pt: entry 4: 9 declared, 3 left.");
    EXPECT_EQ(error.places().front(), "entry 4");
}

TEST(Error, SentenceHasOneFullStop)
{
    EXPECT_EQ((Error{ErrorCode::Io, "It ends here."}.sentence()), "It ends here.");
}

} // namespace
} // namespace shardlens
