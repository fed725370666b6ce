#include "app/cli/commands.h"
#include "app/cli/interrupt.h"
#include "core/io/open_files.h"

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <string>

int main(int argc, char** argv)
{
    using namespace shardlens;
    std::signal(SIGPIPE, SIG_IGN); // a reader that goes away early must not kill a conversion
    allowManyOpenFiles();
    cli::InterruptWatch watch;
    JobContext job(watch.token());
    cli::Console console(stdout, stderr);
    cli::CommandContext context{console, job};
    try {
        return cli::runCommandLine(argc, argv, context);
    } catch (const std::bad_alloc&) {
        console.error("out of memory.");
        return cli::kExitRefused;
    } catch (const std::exception& unexpected) { // a library's; ours are values
        console.error(std::string("the program met something that it does not know (") + unexpected.what() + ").");
        return cli::kExitRefused;
    }
}
