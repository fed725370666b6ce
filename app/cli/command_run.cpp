#include "app/cli/conversion.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"

#include <CLI/CLI.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <unistd.h>

namespace shardlens::cli {
namespace {

constexpr std::uint64_t kLargestDocument = 16u << 20;

struct RunArguments {
    std::string document;
    ConversionOptions options;
};

Result<std::string> readStandardInput()
{
    std::string out;
    std::array<char, 65'536> part{};
    while (true) {
        const ssize_t count = ::read(STDIN_FILENO, part.data(), part.size());
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return Error{ErrorCode::Io, std::strerror(errno)};
        if (count == 0)
            return out;
        out.append(part.data(), static_cast<std::size_t>(count));
        if (out.size() > kLargestDocument)
            return Error{ErrorCode::LimitExceeded, "more than 16 MiB are no job document"};
    }
}

Result<std::string> readDocument(const std::string& path)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(path));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kLargestDocument));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<ConvertRequest> readRequest(const std::string& document)
{
    const bool fromInput = document == "-";
    const std::string place = fromInput ? "standard input" : printable(document);
    auto text = fromInput ? readStandardInput() : readDocument(document);
    if (!text)
        return text.takeError().within(place);
    auto request = requestFromJson(*text);
    if (!request)
        return request.takeError().within(place);
    return request;
}

int runDocument(const RunArguments& arguments, CommandContext& context)
{
    const auto request = readRequest(arguments.document);
    if (!request)
        return failConversion(request.error(), arguments.options, context);
    return runConversion(*request, arguments.options, context);
}

} // namespace

void addRunCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<RunArguments>();
    CLI::App* command = program.add_subcommand("run", "Run a conversion from a job document");
    command->add_option("JOB", arguments->document, "A job document (JSON), or - for standard input")->required();
    addConversionOptions(*command, arguments->options);
    command->footer("A job document says what `convert` says in options: {\"shardlens_job\": 1, \"source\": …, \"target\": …}.\n\n"
                    "Example: shardlens run job.json --progress json");
    command->callback([arguments, &context] { context.exitCode = runDocument(*arguments, context); });
}

} // namespace shardlens::cli
