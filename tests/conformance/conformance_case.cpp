#include "tests/conformance/conformance_case.h"

#include "core/base/regex.h"
#include "tests/conformance/process.h"
#include "tests/support/temporary_folder.h"

#include <fnmatch.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

namespace shardlens::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::chrono::seconds kLimit{120};

std::string contentOf(const fs::path& file)
{
    std::ifstream in(file, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

// Every file below a path with its bytes.
std::map<std::string, std::string> snapshot(const fs::path& path)
{
    std::map<std::string, std::string> out;
    if (fs::is_regular_file(path))
        out[path.filename().string()] = contentOf(path);
    else
        for (const auto& entry : fs::recursive_directory_iterator(path))
            if (entry.is_regular_file())
                out[fs::relative(entry.path(), path).string()] = contentOf(entry.path());
    return out;
}

void flipBit(const fs::path& file, std::int64_t offset)
{
    const auto size = static_cast<std::int64_t>(fs::file_size(file));
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    const std::int64_t at = offset >= 0 ? offset : size + offset;
    bytes.seekg(at);
    const int byte = bytes.get();
    bytes.seekp(at);
    bytes.put(static_cast<char>(byte ^ 1));
}

// A member, or an empty one: a reference, because a loop's range must outlive it.
const json& memberOf(const json& object, const char* name)
{
    static const json kNothing;
    return object.contains(name) ? object.at(name) : kNothing;
}

// A path whose last part may hold *.
std::uintmax_t removeMatching(const fs::path& pattern)
{
    if (pattern.filename().string().find('*') == std::string::npos)
        return fs::remove_all(pattern);
    std::vector<fs::path> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(pattern.parent_path()))
        if (::fnmatch(pattern.filename().c_str(), entry.path().filename().c_str(), 0) == 0)
            found.push_back(entry.path());
    for (const fs::path& path : found)
        fs::remove_all(path);
    return found.size();
}

void harm(const fs::path& source, const json& how)
{
    for (const json& name : memberOf(how, "remove"))
        if (removeMatching(source / name.get<std::string>()) == 0)
            throw std::runtime_error("case error: nothing to remove at " + name.get<std::string>());
    for (const auto& [name, keep] : memberOf(how, "truncate").items())
        fs::resize_file(source / name, keep.get<std::uintmax_t>());
    for (const auto& [name, offset] : memberOf(how, "flip").items())
        flipBit(source / name, offset.get<std::int64_t>());
    for (const auto& [name, text] : memberOf(how, "write").items()) {
        fs::create_directories((source / name).parent_path());
        std::ofstream(source / name, std::ios::binary) << text.get<std::string>();
    }
}

std::string filled(std::string text, const std::map<std::string, std::string>& places)
{
    for (const auto& [name, value] : places)
        for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
            text.replace(at, name.size(), value);
    return text;
}

bool isAllowed(int code, const json& allowed)
{
    if (allowed.is_array())
        return std::any_of(allowed.begin(), allowed.end(), [code](const json& one) { return one.get<int>() == code; });
    return allowed.get<int>() == code;
}

// The first place where `found` does not hold `expected`: objects may hold more, lists must be equal in length.
std::string shortfall(const json& expected, const json& found, const std::string& where)
{
    if (expected.is_object() && found.is_object()) {
        for (const auto& [key, value] : expected.items()) {
            if (!found.contains(key))
                return where + "/" + key + " is missing";
            if (const std::string inner = shortfall(value, found.at(key), where + "/" + key); !inner.empty())
                return inner;
        }
        return {};
    }
    if (expected.is_array() && found.is_array() && expected.size() == found.size()) {
        for (std::size_t i = 0; i < expected.size(); ++i)
            if (const std::string inner = shortfall(expected[i], found[i], where + "/" + std::to_string(i)); !inner.empty())
                return inner;
        return {};
    }
    return expected == found ? std::string{} : where + ": " + found.dump() + ", expected " + expected.dump();
}

std::string joined(const std::vector<std::string>& lines)
{
    std::string out;
    for (const std::string& line : lines)
        out.append(out.empty() ? "" : "; ").append(line);
    return out;
}

class CheckRun {
public:
    CheckRun(const ConformanceCheck& check, std::string program) : m_check(check), m_program(std::move(program)) {}

    std::string run()
    {
        prepare();
        const auto before = snapshot(m_source);
        std::vector<std::string> command{m_program};
        for (const json& argument : m_check.rules.at("run"))
            command.push_back(filled(argument.get<std::string>(), m_places));
        m_result = runProcess(command, m_folder.path().string(), kLimit);
        if (m_result.timedOut)
            return "no answer in " + std::to_string(kLimit.count()) + " s";
        if (const std::string problem = problemWithAnswer(); !problem.empty())
            return problem;
        if (snapshot(m_source) != before)
            return "the source was changed";
        if (m_check.rules.value("absent", false) && fs::exists(m_out))
            return "the target exists after a refusal";
        if (fs::exists(m_folder.path() / "SHARDLENS_EXECUTED"))
            return "a pickle was executed";
        return m_check.rules.contains("digest") ? problemWithDigest() : std::string{};
    }

private:
    void prepare()
    {
        m_source = m_check.folder / "source";
        if (m_check.rules.contains("break")) {
            fs::copy(m_source, m_folder.path() / "source", fs::copy_options::recursive);
            m_source = m_folder.path() / "source";
            harm(m_source, m_check.rules.at("break"));
        }
        m_out = m_folder.path() / m_check.rules.value("out", "out");
        m_places = {{"{source}", m_source.string()},
                    {"{out}", m_out.string()},
                    {"{tmp}", m_folder.path().string()},
                    {"{case}", m_check.folder.string()}};
    }

    [[nodiscard]] std::string problemWithAnswer() const
    {
        const std::string said = m_result.output + "\n" + m_result.remarks;
        const json allowed = m_check.rules.value("exit", json(0));
        if (!isAllowed(m_result.exitCode, allowed))
            return "exit code " + std::to_string(m_result.exitCode) + ", expected " + allowed.dump() + ": " + said;
        for (const json& pattern : memberOf(m_check.rules, "says")) {
            const auto regex = Regex::compile("(?is)" + pattern.get<std::string>());
            if (!regex || !regex->search(said))
                return "does not say /" + pattern.get<std::string>() + "/: " + said;
        }
        if (m_check.rules.contains("json"))
            return shortfall(m_check.rules.at("json"), json::parse(m_result.output), "");
        return {};
    }

    [[nodiscard]] std::string problemWithDigest() const
    {
        ProcessResult digest = m_result;
        if (m_check.rules.at("run").front() != "digest") {
            std::vector<std::string> command{m_program, "digest", m_out.string(), "--json"};
            for (const json& argument : memberOf(m_check.rules, "digest_args"))
                command.push_back(filled(argument.get<std::string>(), m_places));
            digest = runProcess(command, m_folder.path().string(), kLimit);
        }
        if (digest.exitCode != 0)
            return "digest: exit code " + std::to_string(digest.exitCode) + ": " + digest.remarks;
        const json expected = json::parse(contentOf(m_check.folder / m_check.rules.at("digest").get<std::string>()));
        return joined(digestDifferences(expected, json::parse(digest.output), m_check.rules.value("subset", false)));
    }

    const ConformanceCheck& m_check;
    std::string m_program;
    TemporaryFolder m_folder;
    fs::path m_source;
    fs::path m_out;
    std::map<std::string, std::string> m_places;
    ProcessResult m_result;
};

} // namespace

std::vector<ConformanceCheck> checksBelow(const fs::path& root)
{
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(root))
        if (entry.path().filename() == "case.json")
            files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::vector<ConformanceCheck> out;
    for (const fs::path& file : files) {
        const json content = json::parse(contentOf(file));
        for (const json& rules : content.at("checks"))
            out.push_back(
                {fs::relative(file.parent_path(), root).generic_string(), rules.at("name").get<std::string>(), file.parent_path(), rules});
    }
    return out;
}

std::string runCheck(const ConformanceCheck& check, const std::string& program)
{
    return CheckRun(check, program).run();
}

std::vector<std::string> digestDifferences(const json& expected, const json& found, bool subset)
{
    std::vector<std::string> out;
    const json& have = found.at("tensors");
    for (const auto& [name, want] : expected.at("tensors").items()) {
        if (!have.contains(name))
            out.push_back("missing " + name);
        else if (have.at(name).at("dtype") != want.at("dtype") || have.at(name).at("shape") != want.at("shape"))
            out.push_back(name + ": " + have.at(name).dump() + ", expected " + want.dump());
        else if (have.at(name).at("sha256") != want.at("sha256"))
            out.push_back(name + ": other bytes");
    }
    for (const auto& [name, value] : have.items())
        if (!subset && !expected.at("tensors").contains(name))
            out.push_back("unexpected " + name);
    return out;
}

} // namespace shardlens::test
