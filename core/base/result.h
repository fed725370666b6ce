#pragma once

#include <tl/expected.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

// What the caller can do about a failure. Formats add no codes of their own.
enum class ErrorCode : std::uint8_t {
    NotFound,      // ask for another path
    Io,            // the system refused; retrying may help
    Corrupt,       // the bytes break the format's own rules
    Unsupported,   // a valid file that we do not read yet
    LimitExceeded, // refused before spending memory or time on it
    Refused,       // the request cannot be met as asked; change an option
    Cancelled,     // the user asked; never shown as a failure
};

// A failure: code, a fragment (no file name, no full stop) and the places it passed on the way up, innermost first.
class Error {
public:
    Error(ErrorCode code, std::string message) : m_code(code), m_message(std::move(message)) {}

    [[nodiscard]] ErrorCode code() const { return m_code; }
    [[nodiscard]] const std::string& message() const { return m_message; }
    [[nodiscard]] const std::vector<std::string>& places() const { return m_places; }

    // Adds an outer place ("entry 3", a file name). Each level adds its own once.
    [[nodiscard]] Error within(std::string place) &&;
    // "outermost: … : innermost: message", without a full stop.
    [[nodiscard]] std::string text() const;
    // text() as a sentence with its full stop.
    [[nodiscard]] std::string sentence() const;

private:
    ErrorCode m_code;
    std::string m_message;
    std::vector<std::string> m_places;
};

// A value or an Error. Converts from both; value access on a failure is a programming mistake.
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : m_held(std::move(value)) {}
    Result(Error error) : m_held(tl::unexpect, std::move(error)) {}

    [[nodiscard]] explicit operator bool() const { return m_held.has_value(); }
    [[nodiscard]] bool ok() const { return m_held.has_value(); }
    T& operator*() & { return *m_held; }
    const T& operator*() const& { return *m_held; }
    T&& operator*() && { return *std::move(m_held); }
    T* operator->() { return &*m_held; }
    const T* operator->() const { return &*m_held; }
    [[nodiscard]] const Error& error() const { return m_held.error(); }
    [[nodiscard]] Error takeError() { return std::move(m_held.error()); }
    [[nodiscard]] T take() { return std::move(*m_held); }

private:
    tl::expected<T, Error> m_held;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : m_held(tl::unexpect, std::move(error)) {}

    [[nodiscard]] explicit operator bool() const { return m_held.has_value(); }
    [[nodiscard]] bool ok() const { return m_held.has_value(); }
    [[nodiscard]] const Error& error() const { return m_held.error(); }
    [[nodiscard]] Error takeError() { return std::move(m_held.error()); }

private:
    tl::expected<void, Error> m_held;
};

using Status = Result<void>;

} // namespace shardlens

#define SHARDLENS_CONCAT_INNER(a, b) a##b
#define SHARDLENS_CONCAT(a, b) SHARDLENS_CONCAT_INNER(a, b)

// Returns the error of a Status expression to the caller.
#define SHARDLENS_TRY(expression)                                                                                      \
    do {                                                                                                               \
        if (auto shardlensStatus = (expression); !shardlensStatus)                                                     \
            return shardlensStatus.takeError();                                                                        \
    } while (false)

// SHARDLENS_ASSIGN(auto x, f()): x is the value of f(), or the function returns f()'s error.
#define SHARDLENS_ASSIGN(declaration, expression)                                                                      \
    auto SHARDLENS_CONCAT(shardlensResult, __LINE__) = (expression);                                                   \
    if (!SHARDLENS_CONCAT(shardlensResult, __LINE__))                                                                  \
        return SHARDLENS_CONCAT(shardlensResult, __LINE__).takeError();                                                \
    declaration = SHARDLENS_CONCAT(shardlensResult, __LINE__).take()
